"""Records that wait as bytes: how many there may be, and who is told."""

from __future__ import annotations

from typing import Any

import pytest

from trio_lb.fast.record import RecordBuffer, json

RECORD: dict[str, Any] = {
    "time": 1782907200.0,
    "duration": 0.25,
    "status": 200,
    "bytes_sent": 1,
    "bytes_received": 2,
    "client": b"192.0.2.7",
    "method": b"GET",
    "target": b"/",
    "version": b"1.1",
    "request_id": b"",
    "referer": None,
    "user_agent": None,
    "server": None,
    "ended": b"ok",
    "reason": None,
    "attempts": [],
}


class Told:
    """What a buffer has told."""

    def __init__(self, capacity: int = 100, batch: int = 100) -> None:
        self.due = 0
        self.lost = 0
        self.buffer = RecordBuffer(capacity, batch, self._due, self._lost)

    def _due(self) -> None:
        self.due += 1

    def _lost(self, count: int) -> None:
        self.lost += count


def test_what_is_taken_is_there_no_more() -> None:
    told = Told()
    told.buffer.add(**RECORD)
    told.buffer.add(**RECORD)
    assert len(told.buffer) == 2
    batch = told.buffer.take()
    assert (len(batch), len(told.buffer), len(told.buffer.take())) == (2, 0, 0)
    assert len(json(batch).splitlines()) == 2


def test_the_first_and_a_whole_batch_are_told() -> None:
    told = Told(batch=3)
    seen = []
    for _ in range(5):
        told.buffer.add(**RECORD)
        seen.append(told.due)
    assert seen == [1, 1, 2, 2, 2]
    told.buffer.take()
    told.buffer.add(**RECORD)
    assert told.due == 3


def test_more_than_the_capacity_is_lost() -> None:
    told = Told(capacity=2)
    for _ in range(5):
        told.buffer.add(**RECORD)
    assert (len(told.buffer), told.lost) == (2, 3)
    told.buffer.take()
    told.buffer.add(**RECORD)
    assert (len(told.buffer), told.lost) == (1, 3)


def test_large_records_are_lost_before_they_take_much_memory() -> None:
    """16 MiB are room for 255 of 64 KiB, with what they have besides."""
    told = Told(capacity=1000)
    for number in range(300):
        told.buffer.add(**{**RECORD, "target": b"%03d" % number * 21845})
    assert (len(told.buffer), told.lost) == (255, 45)
    lines = json(told.buffer.take()).splitlines()
    assert all(b'"target":"' + b"%03d" % n * 21845 + b'"' in lines[n] for n in range(255))
    told.buffer.add(**{**RECORD, "target": bytes(17 << 20)})
    assert (len(told.buffer), told.lost) == (0, 46)


@pytest.mark.parametrize(
    "wrong",
    [
        {"client": None},
        {"target": "text"},
        {"attempts": [(b"app", None, 0.0, True)]},
        {"attempts": [(None, b"ok", 0.0, True)]},
        {"attempts": [("app", b"ok", 0.0, True)]},
        {"attempts": [(b"app", b"ok", 0.0)]},
        {"attempts": None},
        {"status": -1},
        {"bytes_sent": 2**64},
    ],
)
def test_what_is_no_record_is_refused(wrong: dict[str, Any]) -> None:
    told = Told()
    with pytest.raises((TypeError, ValueError, OverflowError)):
        told.buffer.add(**{**RECORD, **wrong})
    assert len(told.buffer) == told.due == told.lost == 0


@pytest.mark.parametrize("which", ["due", "lost"])
def test_a_fault_of_who_is_told_comes_out(which: str) -> None:
    def fault(*args: object) -> None:
        raise RuntimeError("a fault")

    due, lost = (fault, print) if which == "due" else (lambda: None, fault)
    buffer = RecordBuffer(0 if which == "lost" else 1, 10, due, lost)
    with pytest.raises(RuntimeError, match="a fault"):
        buffer.add(**RECORD)
