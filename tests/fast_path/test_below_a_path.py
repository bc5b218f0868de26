"""A server's path confines what clients can ask of it, on both paths."""

from __future__ import annotations

from typing import cast

import pytest

from tests.fast_path.test_same_outcomes import one, outcome
from tests.support.paths import both_paths
from tests.support.rig import get

pytestmark = both_paths


async def ask(target: str, path: str, fast_path: bool) -> tuple[int, list[str]]:
    """The status of the answer, and the targets that the server saw."""
    seen = await outcome(one("", get(target), path=path), fast_path)
    ((_, status, *_),) = cast("list[tuple[object, int]]", seen["responses"])
    (requests,) = cast("list[list[tuple[str, str]]]", seen["requests"])
    return status, [target for _, target, *_ in requests]


@pytest.mark.parametrize(
    "target",
    [
        "/../admin",
        "/a/../../admin",
        "/%2e%2e/admin",
        "/.%2E%2fadmin",
        "/..%5c..\\admin",
        "/..;a/admin",
        "//../admin",
        "http://example.org/../admin",
    ],
)
async def test_climbing_above_it_is_400(target: str, fast_path: bool) -> None:
    assert await ask(target, "/public", fast_path) == (400, [])


@pytest.mark.parametrize("target", ["/a/../b", "/a/b%2f../c", "/?/../..", "/..a/%2e"])
async def test_what_stays_below_goes_on_as_it_came(target: str, fast_path: bool) -> None:
    assert await ask(target, "/public", fast_path) == (200, [f"/public{target}"])


@pytest.mark.parametrize("target", ["/../admin", "/%2e%2e/admin", "/..\\..;x"])
async def test_without_one_nothing_is_judged(target: str, fast_path: bool) -> None:
    assert await ask(target, "", fast_path) == (200, [target])
