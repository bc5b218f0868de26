"""The tables of requests, in every way that their bytes can come: nothing else reaches the server.

All cases of one way are played at once over one balancer; what each came to is one test. "Ahead"
is the check against smuggling: a good request follows at once, and is served if, and only if,
the connection is kept.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

import pytest
import trio

from tests.gateway import (
    request_chunks,
    request_fields,
    request_framing,
    request_hosts,
    request_lines,
)
from tests.gateway.requesting import run_requests
from tests.gateway.verdicts import OpenGateway, Verdicts, Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.cases import RequestCase

TABLES = (request_lines, request_hosts, request_fields, request_framing, request_chunks)
CASES = list(chain.from_iterable(table.CASES for table in TABLES))

#: What the client's FIN spoils can't have anything behind it.
PLAYED = {way: [case for case in CASES if way is not Way.AHEAD or not case.eof] for way in Way}


@pytest.fixture(scope="module")
def played(open_gateway: OpenGateway) -> Callable[[Way], Verdicts]:
    """Plays all cases in a way when it is asked for first."""

    @cache
    def play(way: Way) -> Verdicts:
        verdicts, _ = trio.run(run_requests, PLAYED[way], way, open_gateway)
        return verdicts

    return play


@pytest.mark.parametrize(
    ("way", "case"),
    [
        pytest.param(way, case, id=f"{way.value}-{case.name}")
        for way, cases in PLAYED.items()
        for case in cases
    ],
)
def test_request(played: Callable[[Way], Verdicts], way: Way, case: RequestCase) -> None:
    assert played(way).cases[case.name] == []


@pytest.mark.parametrize("way", Way, ids=lambda way: way.value)
def test_nothing_is_left_and_nothing_else_came(played: Callable[[Way], Verdicts], way: Way) -> None:
    """No task, descriptor, connection or slot; no byte that is not of an accepted request."""
    assert played(way).run == []
