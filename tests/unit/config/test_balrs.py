"""The profile format of Bal.rs: the article's own file, and what is wrong in others."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_lb.config import (
    Address,
    Algorithm,
    HealthCheck,
    Listen,
    Profile,
    ProfileError,
    Server,
    load_profile,
    parse_profile,
)
from trio_lb.config.balrs import is_balrs

ARTICLE = Path(__file__).parents[2] / "data" / "balrs-config.yaml"


def _server(port: int, weight: int = 1, max_connections: int = 0) -> Server:
    return Server(
        address=Address(host="127.0.0.1", port=port), weight=weight, max_connections=max_connections
    )


def test_the_file_of_the_article() -> None:
    assert load_profile(ARTICLE) == Profile(
        listen=(Listen(address=Address(host="127.0.0.1", port=8000)),),
        algorithm=Algorithm.ROUND_ROBIN,
        servers=(_server(3001, 20, 1000), _server(3002, 30, 1000), _server(3003, 10, 1000)),
        timeout=10.0,
        health_check=HealthCheck(interval=10.0, timeout=10.0),
    )


def test_what_is_missing_has_our_defaults_and_is_never_0() -> None:
    profile = parse_profile("load balancer: http://127.0.0.1:9000\nservers: http://127.0.0.1:1")
    listen = Listen(address=Address(host="127.0.0.1", port=9000))
    assert profile == Profile(listen=(listen,), servers=(_server(1),))
    assert min(profile.timeout, profile.health_check.interval, profile.health_check.timeout) > 0


def test_a_check_has_the_timeout_as_far_as_the_interval_allows() -> None:
    profile = parse_profile("!!\nservers: http://a\ntimeout: 7\nhealth check interval: 3\n")
    assert profile.timeout == 7
    assert profile.health_check == HealthCheck(interval=3, timeout=3)


def test_white_space_comments_and_line_ends_do_not_matter() -> None:
    text = "# ours\r\nservers :http://a\r\n"
    assert not is_balrs(text)
    text = (
        "# ours\r\n\r\n!! theirs\r\n"
        "servers:  http://127.0.0.1:1 ,http://127.0.0.1:2  \r\nweights: 3,4\r\n"
    )
    assert parse_profile(text).servers == (_server(1, 3), _server(2, 4))


@pytest.mark.parametrize(
    "text",
    [
        "servers: http://a\n",
        "servers: http://a\nalgorithm: rr\ntimeout: 10\n",
        "servers: [http://a, http://b]\nweights: 1\n",
        "servers:\n  - http://a\nweights: 1\n",
        "servers:\n- http://a\nweights: 1\n",
        "listen: http://b\nservers: http://a\nweights: 3\n",
        'load balancer: "http://a"\n',
        "load balancer: {a: b}\n",
        "",
        "# !! remark\n",
        "hello\n!! remark",
        "load balancer:http://a\n",
    ],
)
def test_yaml_is_not_taken_for_it(text: str) -> None:
    assert not is_balrs(text)


@pytest.mark.parametrize(
    "text",
    [
        "load balancer: http://a\n",
        "!! remark\n",
        "!!\nservers: x\n",
        "servers: a, b\nweights: 1, 2\n",
        "servers: a\nmax connections: 1\n",
        "servers: a\nhealth check interval: 1",
    ],
)
def test_it_is_recognised(text: str) -> None:
    assert is_balrs(text)


S = "load balancer: http://b\nservers: http://a:1, http://a:2\n"


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("load balancer: http://b\n", "1:1", "servers: missing"),
        ("load balancer: b:1\nservers: http://a", "1:16", "listen: expected an address"),
        ("load balancer:\nservers: http://a", "1:15", "got nothing"),
        (S + "weights: 1\n", "3:10", "weights: expected 2, one for each server, got 1"),
        (S + "weights: 1, 2, 3\n", "3:10", "weights: expected 2, one for each server, got 3"),
        (S + "weights:\n", "3:9", "weights: expected 2, one for each server, got 0"),
        (S + "weights: 1,  0\n", "3:14", "servers[1].weight: expected a whole number"),
        (
            S + "weights: 1, x\n",
            "3:13",
            'servers[1].weight: expected a whole number from 1 to 65535, got "x"',
        ),
        (S + "weights: 1,\n", "3:12", "servers[1].weight: expected a whole number"),
        (S + "max connections: 5\n", "3:18", "max connections: expected 2"),
        (S + "max connections: 5, 0\n", "3:21", "0 would allow no request"),
        (S + "max connections: 5, -1\n", "3:21", "servers[1].max_connections: expected"),
        (S + "timeout: 0\n", "3:10", "timeout: expected a duration longer than zero"),
        (S + "health check interval: 0\n", "3:24", "health_check.interval: expected a duration"),
        (S + "algorithm: wlrc\n", "3:12", 'did you mean "wlc"?'),
        (
            S + "wieghts: 1, 2\n",
            "3:1",
            'unknown key in the format of Bal.rs: did you mean "weights"?',
        ),
        (S + "max_connections: 1, 2\n", "3:1", 'did you mean "max connections"?'),
        (
            S + "retries: 3\n",
            "3:1",
            "unknown key in the format of Bal.rs: expected one of load balancer",
        ),
        (S + "timeout: 3\n\ntimeout: 4\n", "5:1", "timeout: a second time (first at 3:1)"),
        ("!! x\nservers: http://a, b:2\n", "2:20", "servers[1].url: expected an address"),
        ("!! x\nservers: http://a, http://a\n", "2:20", "is already used by servers[0]"),
        ("!! x\nservers: http://a,, http://b\n", "2:19", "servers[1].url: expected an address"),
        ("!! x\nservers: http://a,\n", "2:19", "servers[1].url: expected an address"),
        ("!! x\nservers:\n", "2:9", "servers: expected at least one"),
        ("!! x\nservers: http://${NOPE}\n", "2:10", "the environment variable NOPE is not set"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, place: str, said: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile(text, "x.yaml", {})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"x.yaml:{place}: ")
    assert said in line


def test_weights_without_servers() -> None:
    with pytest.raises(ProfileError, match="servers: missing"):
        parse_profile("weights: 1, 2")


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile(S + "wieghts: 1, 2\ntimeout: soon\nmax connections: 3\nalgorithm: x\n")
    assert [problem.position and problem.position.line for problem in caught.value.problems] == [
        3,
        4,
        5,
        6,
    ]
