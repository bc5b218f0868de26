"""The log on standard error: what is written, and that nobody ever waits for it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from trio_lb import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("trio_lb.test")

#: Seconds after which a test that waits for the pipe is let go, to fail.
PATIENCE = 20.0


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard error is a pipe with little room; this is the end from which nobody reads."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(writing, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        logs.configure("info")
        done = threading.Event()

        def rescue() -> None:
            late = not done.wait(PATIENCE)
            while late and not done.wait(0.01):
                read(reading)

        rescuer = threading.Thread(target=rescue)
        rescuer.start()
        yield reading
        done.set()
        rescuer.join()
        for handler in root.handlers[:]:
            root.removeHandler(handler)
        for handler in before:
            root.addHandler(handler)
        root.setLevel(level)
        os.close(reading)


def fill(reader: int) -> None:
    """Leave no room in the pipe, by way of another descriptor of it."""
    writing = os.open(f"/dev/fd/{reader}", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.close(writing)


def read(reader: int) -> str:
    """All that is in the pipe."""
    data = bytearray()
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(reader, 1 << 20):
            data += piece
    return data.decode()


def test_row_25_a_pipe_that_nobody_reads_costs_lines_and_no_time(reader: int) -> None:
    """1000 lines into a full pipe: each is lost, and none is waited for."""
    log.info("one")
    assert read(reader).endswith(" one\n")
    fill(reader)
    for number in range(1000):
        log.info("lost %d", number)
    assert "lost" not in read(reader)
    log.info("two")
    log.info("three")
    lines = read(reader).splitlines()
    assert lines[:2] == ["", "(1000 lines of this log were lost: nobody took them)"]
    assert [line.rpartition(" ")[2] for line in lines[2:]] == ["two", "three"]


def test_row_25_what_is_longer_than_the_room_is_cut(reader: int) -> None:
    """A traceback, say."""
    fill(reader)
    os.read(reader, 8192)  # room for two pieces of 4096 bytes, as far as bytes tell
    log.info("long %s", "é" * 1_000_000)
    whole = read(reader)
    assert "long é" in whole
    assert len(whole) < 500_000
    log.info("next")
    assert re.fullmatch(r"\n\(1 line .* lost: .*\)\n[^\n]+ next\n", read(reader))


def test_a_long_record_is_written_whole_where_there_is_room(reader: int) -> None:
    log.info("%s", "é" * 10_000)
    assert read(reader).count("é") == 10_000


def test_a_stream_in_memory_or_closed_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, reader: int
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("info")
    log.info("seen")
    assert stream.getvalue().endswith(" seen\n")
    monkeypatch.setattr(logging, "raiseExceptions", False)
    stream.close()
    log.info("not seen")


def test_times_are_utc_and_say_so(monkeypatch: pytest.MonkeyPatch, reader: int) -> None:
    monkeypatch.setenv("TZ", "EST5EDT")
    time.tzset()
    try:
        log.info("now")
        told = datetime.fromisoformat(read(reader).split()[0])
        assert told.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - told) < timedelta(minutes=1)
    finally:
        monkeypatch.undo()
        time.tzset()
