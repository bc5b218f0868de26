"""Keys that have another name now, or no effect, stay valid, with a word about what to do."""

from __future__ import annotations

import pytest

from trio_lb.config import Problem, dump_profile, parse_profile

SERVER = "servers: http://127.0.0.1:1\n"


@pytest.mark.parametrize(("old", "on"), [("plain", True), ("h11", False), ("${PATH_}", False)])
def test_engine_is_fast_path_now(old: str, on: bool) -> None:
    warnings: list[Problem] = []
    text = f"{SERVER}engine: {old}\n"
    profile = parse_profile(text, "x.yaml", {"PATH_": "h11"}, warn=warnings.append)
    assert profile.fast_path is on
    switch = "on" if on else "off"
    assert [str(each) for each in warnings] == [
        f"x.yaml:2:1: engine: is called fast_path now: write fast_path: {switch}"
    ]
    dumped = dump_profile(profile, as_written=True)
    assert f"fast_path: {switch}\n" in dumped
    assert "engine" not in dumped


@pytest.mark.parametrize("value", ["auto", "trio"])
def test_readiness_has_no_effect_any_more(value: str) -> None:
    warnings: list[Problem] = []
    text = f"{SERVER}readiness: {value}\n"
    profile = parse_profile(text, "x.yaml", warn=warnings.append)
    assert profile == parse_profile(SERVER)
    assert [str(each) for each in warnings] == [
        "x.yaml:2:1: readiness: has no effect any more: remove it"
    ]


def test_nobody_is_warned_of_the_new_key() -> None:
    warnings: list[Problem] = []
    assert not parse_profile(SERVER + "fast_path: off", warn=warnings.append).fast_path
    assert not warnings
