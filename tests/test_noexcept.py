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
    for path in sorted((ROOT / "build" / "cython" / "ext" / "trio_lb").glob("_*.c"))
    if (ROOT / "ext" / "trio_lb" / path.name).with_suffix(".pyx").exists()
]

#: All that they call of Python is in a `try`.
WRAPPED = {
    "_exchange.PlainExchange.end",
    "_forward.connect",
    "_response.tell",
    "_upstreams.discard",
    "_upstreams.log_fault",
}

#: Divisions, whose divisors are not zero, and lengths.
ARITHMETIC = {
    "_block.decay",
    "_block.penalty_of",
    "_block.sightings_step",
    "_failures.answers_of",
    "_pace.earn",
    "_select.LeastResponseTime.score_all",
    "_select.WeightedRoundRobin.choose",
    "_table.count_answer",
    "_times.charge",
    "_times.usual_micros",
    "_writer.slice_of",
}

#: What they call is compiled, and raises only for a time before the table's or for no server.
COMPILED = {
    "_forward.pick",
    "_response.begin_response",
    "_upstreams.Server.remove",
}


@pytest.mark.skipif(not GENERATED, reason="not in a tree where it was built")
def test_nothing_of_python_can_fail_there_unnoticed() -> None:
    swallowing = {
        name
        for path in GENERATED
        for name in re.findall(r'__Pyx_WriteUnraisable\("trio_lb\.([\w.]+)"', path.read_text())
        if not name.startswith("_trio_waits.")
    }
    assert swallowing - WRAPPED - ARITHMETIC - COMPILED == set()
    assert swallowing >= WRAPPED
