"""No text whatever makes the reader raise anything but a `ProfileError`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from trio_lb.config import ProfileError, parse_profile

if TYPE_CHECKING:
    from trio_lb.config import Problem

_YAML_LIKE = st.lists(
    st.sampled_from(
        [
            *("servers", "listen", "weights", "health_check", "load balancer", "timeout", "url"),
            *(
                ": ",
                ":",
                "\n",
                "\n  ",
                "\n- ",
                "- ",
                ", ",
                "[",
                "]",
                "{",
                "}",
                "#",
                "!!",
                "!! ",
                "!",
            ),
            *("&a ", "*a", "<<", "|", ">", "'", '"', "\\", "?", "%", "---\n", "...\n", "\t", "\r"),
            *("http://", "unix:", "a:1", "0", "-1", "1e9", "10s", "${", "}", "$$", "${A:-", "~"),
            *("\x85", "\u2028", "\ufeff", "\0", "\ud800", "é", "\U0001f600", "٣"),
        ]
    ),
    max_size=40,
).map("".join)


@given(st.one_of(_YAML_LIKE, st.text(st.characters(), max_size=80)))
@example("servers: http://[")
@example("? ")
@example("a: !<")
@example("servers: http://" + "9" * 5000)
@example("retries: " + "9" * 5000)
def test_no_text_raises_anything_but_a_profile_error(text: str) -> None:
    problems = _problems(text)
    assert all(problem.position is not None for problem in problems)
    assert all("\n" not in str(problem) for problem in problems)


def _problems(text: str) -> tuple[Problem, ...]:
    try:
        profile = parse_profile(text, environ={"A": "a"})
    except ProfileError as error:
        return error.problems
    assert profile.servers
    return ()
