"""The tables of requests, in every way that their bytes can come: nothing else reaches the server.

All cases of one way are played at once over one balancer, and are one test, which names every case
that went wrong. "Ahead" is the check against smuggling: a good request follows at once, and is
served if, and only if, the connection is kept.
"""

from __future__ import annotations

from itertools import chain

import pytest

from tests.gateway import (
    request_chunks,
    request_fields,
    request_framing,
    request_hosts,
    request_lines,
)
from tests.gateway.requesting import run_requests
from tests.gateway.verdicts import OpenGateway, Way

TABLES = (request_lines, request_hosts, request_fields, request_framing, request_chunks)
CASES = list(chain.from_iterable(table.CASES for table in TABLES))

#: What the client's FIN spoils can't have anything behind it.
PLAYED = {way: [case for case in CASES if way is not Way.AHEAD or not case.eof] for way in Way}


@pytest.mark.parametrize("way", Way, ids=lambda way: way.value)
async def test_requests(way: Way, open_gateway: OpenGateway) -> None:
    """And nothing is left: no task, descriptor, connection or slot; no other byte has come."""
    verdicts, _ = await run_requests(PLAYED[way], way, open_gateway)
    assert verdicts.cases.keys() == {case.name for case in PLAYED[way]}
    if wrong := verdicts.told():
        pytest.fail(wrong, pytrace=False)
