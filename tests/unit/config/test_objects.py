"""Profiles from dicts: the same as from text, checks included."""

from __future__ import annotations

import ipaddress
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import trio_lb
from trio_lb.config import ProfileError, parse_profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_lb.config import Problem

RIGHT: dict[str, Any] = {
    "listen": ["http://*:80", {"url": "http://[::1]:8080", "proxy_protocol": True}],
    "servers": ("http://a:1", {"url": "http://b", "weight": 3, "name": "b"}),
    "trusted_proxies": ["10.0.0.0/8"],
    "timeout": 0.25,
    "timeouts": {"keep_alive": 0, "drain": "1m"},
    "limits": {"body": None, "head": 32768},
    "retries": 0,
    "health_check": {"statuses": [204, "300-399"], "jitter": 1e-05, "enabled": False},
    "access_log": "-",
}


def test_a_dict_says_what_its_yaml_says() -> None:
    assert parse_profile(RIGHT) == parse_profile(
        yaml.safe_dump({**RIGHT, "servers": [*RIGHT["servers"]]})
    )
    assert parse_profile(RIGHT) == parse_profile(json.dumps(RIGHT))


def test_what_python_has_and_yaml_has_not() -> None:
    profile = parse_profile(
        {
            "servers": "http://a",
            "timeout": timedelta(milliseconds=1500),
            "timeouts": {"drain": timedelta(days=2), "connect": timedelta(microseconds=1)},
            "access_log": Path("/var/log/x.log"),
            "trusted_proxies": [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_address("::1")],
        }
    )
    assert (profile.timeout, profile.timeouts.drain, profile.timeouts.connect) == (
        1.5,
        172800,
        1e-6,
    )
    assert profile.access_log == "/var/log/x.log"
    assert profile.trusted_proxies == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )


def test_the_environment_counts_in_a_dict_too() -> None:
    profile = parse_profile({"servers": "http://${HOST}"}, environ={"HOST": "hunter2"})
    assert profile.servers[0].address.host == "hunter2"
    assert profile.servers[0].name == "http://${HOST}"


CIRCLE: dict[str, Any] = {"servers": "http://a"}
CIRCLE["limits"] = CIRCLE

WRONG: list[tuple[Mapping[Any, Any], str]] = [
    ({}, "servers: missing: it is required"),
    ({"servers": []}, "servers: expected at least one, got an empty list"),
    ({"servers": None}, "servers: expected at least one, got nothing"),
    ({"servers": "http://a", "retires": 3}, 'retires: unknown key: did you mean "retries"?'),
    ({"servers": ["http://a", {"url": "http://b", "weight": True}]}, "servers[1].weight: expected"),
    ({"servers": "http://a", "timeout": -1}, "timeout: expected a duration"),
    ({"servers": "http://a", "timeout": timedelta(seconds=-1)}, "timeout: expected a duration"),
    ({"servers": "http://a", "timeout": float("nan")}, "timeout: expected a duration"),
    ({"servers": "http://a", "retries": 1.5}, "retries: expected a whole number"),
    ({"servers": "http://a", "retries": ""}, 'expected a whole number from 0 to 100, got ""'),
    ({"servers": "http://a", "limits": {"heads": 1}}, "limits.heads: unknown key"),
    ({"servers": {"http://a"}}, "servers: expected a text, a number, a list or a mapping, got set"),
    ({"servers": b"http://a"}, "servers: expected a text, a number, a list or a mapping, got byt"),
    ({"servers": "http://a", "limits": {None: 1}}, "limits: expected a key, a plain word, got"),
    ({"servers": ["http://a", "http://a"]}, "servers[1]: http://a:80 is already used by serv"),
    ({"servers": "http://127.0.0.1:8000"}, "servers: http://127.0.0.1:8000 is where this load bal"),
    ({"servers": "http://a", "error_pages": {503: "x.txt", "503": "x.txt"}}, "error_pages.503: "),
    (CIRCLE, "nested too deeply"),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_wrong_is_told_with_its_key(profile: dict[str, Any], said: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile(profile, "settings")
    lines = str(caught.value).splitlines()
    assert any(line.startswith("settings: ") and said in line for line in lines), lines
    assert all(problem.position is None for problem in caught.value.problems)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile(
            {"servers": ["http://a:x", {"url": "http://b", "weight": 0}], "retries": 101, "x": 1}
        )
    assert [problem.key for problem in caught.value.problems] == [
        "servers[0]",
        "servers[1].weight",
        "retries",
        "x",
    ]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["servers", "listen", "limits", "timeout", "x"]), _VALUES))
def test_no_dict_raises_anything_but_a_profile_error(profile: dict[str, Any]) -> None:
    assert all("\n" not in str(problem) for problem in _problems(profile))


def _problems(profile: dict[str, Any]) -> tuple[Problem, ...]:
    try:
        parse_profile(profile, environ={})
    except ProfileError as error:
        return error.problems
    return ()


def test_what_embedders_need_is_exported() -> None:
    profile = trio_lb.parse_profile({"servers": {"url": "http://a:1", "weight": 3}})
    assert isinstance(profile, trio_lb.Profile)
    assert isinstance(profile.health_check, trio_lb.HealthCheck)
    (server,) = profile.servers
    assert server == trio_lb.Server(address=trio_lb.Address(host="a", port=1), weight=3)
    assert {"Address", "HealthCheck", "Profile", "Server", "parse_profile"} <= set(trio_lb.__all__)
