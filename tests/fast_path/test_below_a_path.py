"""A server's path confines what clients can ask of it, on both paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import pytest

from tests.fast_path.test_same_outcomes import one, outcome
from tests.support.rig import get

if TYPE_CHECKING:
    Engine = Literal["plain", "h11"]

pytestmark = pytest.mark.parametrize("engine", ["plain", "h11"])


async def ask(target: str, path: str, engine: Engine) -> tuple[int, list[str]]:
    """The status of the answer, and the targets that the server saw."""
    seen = await outcome(one("", get(target), path=path), engine)
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
async def test_climbing_above_it_is_400(target: str, engine: Engine) -> None:
    assert await ask(target, "/public", engine) == (400, [])


@pytest.mark.parametrize("target", ["/a/../b", "/a/b%2f../c", "/?/../..", "/..a/%2e"])
async def test_what_stays_below_goes_on_as_it_came(target: str, engine: Engine) -> None:
    assert await ask(target, "/public", engine) == (200, [f"/public{target}"])


@pytest.mark.parametrize("target", ["/../admin", "/%2e%2e/admin", "/..\\..;x"])
async def test_without_one_nothing_is_judged(target: str, engine: Engine) -> None:
    assert await ask(target, "", engine) == (200, [target])
