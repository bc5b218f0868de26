"""What a supervisor and its workers say to each other."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_lb.config import ErrorPage
from trio_lb.supervise.orders import (
    DRAIN,
    READY,
    STAND_IN,
    Lines,
    ListenOrder,
    Orders,
    absent_of,
    cover_for,
)

ORDERS = Orders(
    profile="servers:\n  - http://127.0.0.1:1\n",
    from_environment={"servers[0].url": "http://${HOST}:1"},
    pages={503: ErrorPage("text/html", b"<p>\n\xff")},
    table=7,
    row=3,
    slots=[4, 0],
    number=1,
    listen=[[ListenOrder(8, "http://*:80", True)], [ListenOrder(9, "unix:/run/x y.sock")]],
    log_level="info",
    log_levels=[(None, "DEBUG"), ("trio_lb.proxy", "ERROR")],
)


def test_orders_are_one_line_and_come_back_as_they_were() -> None:
    line = ORDERS.line()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert msgspec.json.decode(line, type=Orders) == ORDERS


@given(st.lists(st.integers(0, 1000)))
def test_the_absent_come_back_as_they_were(absent: list[int]) -> None:
    line = cover_for(absent)
    assert line.startswith(STAND_IN)
    assert line.endswith(b"\n")
    assert absent_of(line) == absent


class Pieces(trio.abc.ReceiveStream):
    """A stream that comes in just these pieces, then ends or breaks."""

    def __init__(self, *pieces: bytes, breaks: bool = False) -> None:
        self._pieces = list(pieces)
        self._breaks = breaks

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._pieces and self._breaks:
            raise trio.BrokenResourceError
        return self._pieces.pop(0) if self._pieces else b""

    async def aclose(self) -> None: ...


@given(st.sets(st.integers(1, 20)))
async def test_lines_come_whole_however_they_are_cut(cuts: set[int]) -> None:
    sent = READY + cover_for([1, 2]) + DRAIN
    bounds = [0, *sorted(cuts), len(sent)]
    lines = Lines(Pieces(*(sent[start:end] for start, end in pairwise(bounds))))
    assert [await lines.next() for _ in range(4)] == [READY, cover_for([1, 2]), DRAIN, b""]


@pytest.mark.parametrize("breaks", [True, False])
async def test_half_a_line_is_the_end(breaks: bool) -> None:
    lines = Lines(Pieces(b"ready\ndrai", breaks=breaks))
    assert await lines.next() == READY
    assert await lines.next() == b""
