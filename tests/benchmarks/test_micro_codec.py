"""The micro-benchmark of the codec: its samples are plain, and callgrind's dumps are read."""

from __future__ import annotations

import pytest

from benchmarks.micro import codec
from trio_lb.fast.http1 import FRAMED_END, BodyFraming, read_request, read_response

DUMP = """# callgrind format
version: 1
pid: 27
part: 2

desc: Timerange: Basic block 0 - 7
desc: Trigger: Client Request: parse request, wrk

events: Ir
summary: 606000
"""


@pytest.mark.parametrize("data", [codec.WRK, codec.BROWSER, codec.POST])
def test_requests_are_plain(data: bytes) -> None:
    assert read_request(data, head_limit=16384, target_limit=8192, field_limit=100)


def test_the_response_and_the_body_are_plain() -> None:
    assert read_response(codec.RESPONSE)
    framing = BodyFraming(chunked=True)
    framing.feed(codec.CHUNKS)
    assert framing.state == FRAMED_END


def test_a_dump_says_which_loop_took_how_many_instructions() -> None:
    assert codec.read_dump(DUMP) == ("parse request, wrk", 606_000)
    last = DUMP.replace("Client Request: parse request, wrk", "Program termination")
    assert codec.read_dump(last) is None
