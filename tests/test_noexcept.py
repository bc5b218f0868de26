"""Faults in compiled code that can't raise: what Cython would only print, and go on.

Nothing that calls Python may be among it: it would leave an exchange in the middle, its slot held.
Such calls are in a `try` of their own, and end the exchange. Cython has a line in the C that it
generates for each function whose exceptions would be printed.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GENERATED = [
    path
    for path in sorted((ROOT / "build" / "cython" / "ext").rglob("*.c"))
    if (ROOT / path.relative_to(ROOT / "build" / "cython")).with_suffix(".pyx").exists()
]

UNRAISABLE = re.compile(r'__Pyx_WriteUnraisable\("trio_lb\.fast\.([\w.]+)"')

#: All that they call of Python is in a `try`.
WRAPPED = {
    "exchange.Acceptor.step",
    "exchange.Acceptor.stop",
    "exchange.Clients.give_back",
    "exchange.Clients.lose",
    "exchange.Clients.part",
    "exchange.FastPath.lend",
    "exchange.FastPath.take_back",
    "exchange.ClientSide.end",
    "exchange.Tunnel.end",
    "exchange.Tunnel.tell_server_ended",
    "exchange.connect",
    "exchange.heed_claims",
    "exchange.keep_record",
    "loop.discard",
    "loop.log_fault",
}

#: Divisions, whose divisors are not zero, and lengths.
ARITHMETIC = {
    "table.decay",
    "table.penalty_of",
    "table.sightings_step",
    "table.answers_of",
    "exchange.earn",
    "table.LeastResponseTime.score_all",
    "table.WeightedRoundRobin.choose",
    "table.count_answer",
    "table.charge",
    "table.usual_micros",
    "http1.slice_of",
}

#: What they call is compiled, and raises only for a time before the table's or for no server.
COMPILED = {
    "exchange.pick",
    "exchange.begin_response",
    "loop.Server.remove",
}


@pytest.mark.skipif(not GENERATED, reason="not in a tree where it was built")
def test_nothing_of_python_can_fail_there_unnoticed() -> None:
    swallowing = {name for path in GENERATED for name in UNRAISABLE.findall(path.read_text())}
    assert swallowing - WRAPPED - ARITHMETIC - COMPILED == set()
    assert swallowing >= WRAPPED
