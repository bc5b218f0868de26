"""The tables of responses: what a client sees of each, and that the next client sees nothing of it.

Whole, byte by byte, and with the client's next request already waiting ("ahead"). All cases of one
way are one test, which names every case that went wrong.
"""

from __future__ import annotations

from itertools import chain

import pytest

from tests.gateway import response_bodies, response_heads, response_interim
from tests.gateway.responding import run_responses
from tests.gateway.verdicts import OpenGateway, Way

TABLES = (response_heads, response_bodies, response_interim)
CASES = list(chain.from_iterable(table.CASES for table in TABLES))

#: Behind a request that isn't complete there can be no other.
PLAYED = {
    Way.WHOLE: CASES,
    Way.BYTEWISE: CASES,
    Way.AHEAD: [case for case in CASES if not case.unfinished],
}


#: The same cases in other ways reach no other lines.
WAYS = [
    pytest.param(way, id=way.value, marks=[] if way is Way.WHOLE else [pytest.mark.no_cover])
    for way in PLAYED
]


@pytest.mark.parametrize("way", WAYS)
async def test_responses(way: Way, open_gateway: OpenGateway) -> None:
    """And nothing is left: no task, descriptor, connection or slot."""
    verdicts = await run_responses(PLAYED[way], way, open_gateway)
    assert verdicts.cases.keys() == {case.name for case in PLAYED[way]}
    if wrong := verdicts.told():
        pytest.fail(wrong, pytrace=False)
