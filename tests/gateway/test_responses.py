"""The tables of responses: what a client sees of each, and that the next client sees nothing of it.

Whole, byte by byte, and with the client's next request already waiting ("ahead").
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

import pytest
import trio

from tests.gateway import response_bodies, response_heads, response_interim
from tests.gateway.responding import run_responses
from tests.gateway.verdicts import OpenGateway, Verdicts, Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.cases import ResponseCase

TABLES = (response_heads, response_bodies, response_interim)
CASES = list(chain.from_iterable(table.CASES for table in TABLES))

#: Behind a request that isn't complete there can be no other.
PLAYED = {
    Way.WHOLE: CASES,
    Way.BYTEWISE: CASES,
    Way.AHEAD: [case for case in CASES if not case.unfinished],
}


@pytest.fixture(scope="module")
def played(open_gateway: OpenGateway) -> Callable[[Way], Verdicts]:
    """Plays all cases in a way when it is asked for first."""

    @cache
    def play(way: Way) -> Verdicts:
        return trio.run(run_responses, PLAYED[way], way, open_gateway)

    return play


@pytest.mark.parametrize(
    ("way", "case"),
    [
        pytest.param(way, case, id=f"{way.value}-{case.name}")
        for way, cases in PLAYED.items()
        for case in cases
    ],
)
def test_response(played: Callable[[Way], Verdicts], way: Way, case: ResponseCase) -> None:
    assert played(way).cases[case.name] == []


@pytest.mark.parametrize("way", PLAYED, ids=lambda way: way.value)
def test_nothing_is_left(played: Callable[[Way], Verdicts], way: Way) -> None:
    """No task, descriptor, connection or slot."""
    assert played(way).run == []
