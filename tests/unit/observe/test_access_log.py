"""The queue and the task behind the access log, on real files.

`mock_clock` stands still but for its `jump`: a worker thread never comes too late by chance.
"""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Literal

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from tests.support.access_lines import combined_line
from tests.support.waiting import eventually, until_next_deadline_in
from tests.unit.observe.test_access_lines import RECORD
from trio_lb.observe.access_log import AccessLog, open_access_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from trio.testing import MockClock

    from trio_lb.fast.record import RecordBatch

LINE = combined_line(RECORD)


def open_log(
    path: str,
    dropped: list[int] | None = None,
    line_format: Literal["combined", "json"] = "combined",
    capacity: int = 10_000,
) -> AbstractAsyncContextManager[AccessLog]:
    """An access log; how many records are lost each time is appended to `dropped`."""
    lost: list[int] = [] if dropped is None else dropped
    return open_access_log(path, line_format, lost.append, capacity=capacity)


async def let_it_be_written(clock: MockClock) -> None:
    """Let the time pass for which records gather."""
    await until_next_deadline_in(0.5)
    clock.jump(0.5)


async def test_records_gather_before_they_are_written(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    path = tmp_path / "access.log"
    dropped: list[int] = []
    async with open_log(str(path), dropped) as log:
        await trio.testing.wait_all_tasks_blocked()
        log.record(RECORD)
        await until_next_deadline_in(0.5)
        log.record(RECORD)
        assert path.read_bytes() == b""
        await let_it_be_written(mock_clock)
        await eventually(lambda: path.read_bytes() == LINE * 2)
        log.record(RECORD)
        await let_it_be_written(mock_clock)
        await eventually(lambda: path.read_bytes() == LINE * 3)
    assert not dropped


async def test_a_full_batch_does_not_wait(mock_clock: MockClock, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with open_log(str(path)) as log:
        await eventually(path.exists)
        for _ in range(1000):
            log.record(RECORD)
        await eventually(lambda: path.read_bytes() == LINE * 1000)


async def test_json_format(mock_clock: MockClock, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with open_log(str(path), line_format="json") as log:
        log.record(RECORD)
    assert json.loads(path.read_bytes())["attempts"][1]["server"] == "web"


async def test_dash_is_standard_output(
    mock_clock: MockClock, capfd: pytest.CaptureFixture[str]
) -> None:
    async with open_log("-") as log:
        log.record(RECORD)
    assert capfd.readouterr().out.encode() == LINE


async def test_the_file_may_be_moved_away(tmp_path: Path, mock_clock: MockClock) -> None:
    path, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    async with open_log(str(path)) as log:
        await trio.testing.wait_all_tasks_blocked()
        log.record(RECORD)
        await let_it_be_written(mock_clock)
        await eventually(path.read_bytes)
        path.rename(rotated)
        log.record(replace(RECORD, status=404))
    assert rotated.read_bytes() == LINE
    assert path.read_bytes() == combined_line(replace(RECORD, status=404))


async def test_what_cancelled_tasks_record_is_written(
    mock_clock: MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"

    async def exchange() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.record(RECORD)

    with trio.CancelScope() as everything:
        async with open_log(str(path)) as log, trio.open_nursery() as nursery:
            nursery.start_soon(exchange)
            await trio.testing.wait_all_tasks_blocked()
            everything.cancel()
    assert everything.cancelled_caught
    assert path.read_bytes() == LINE


async def test_a_full_disk_is_told_once_and_left_behind(
    tmp_path: Path, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "access.log"
    path.symlink_to("/dev/full")
    dropped: list[int] = []
    async with open_log(str(path), dropped) as log:
        await trio.testing.wait_all_tasks_blocked()  # the file is open before the first record
        for batch in (1, 2):
            log.record(RECORD)
            log.record(RECORD)
            await let_it_be_written(mock_clock)
            await eventually(lambda: len(dropped) == batch)  # noqa: B023 -- awaited at once
        path.unlink()
        log.record(RECORD)
    assert path.read_bytes() == LINE
    assert dropped == [2, 2]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", f"cannot write the access log {path}: No space left on device"),
        ("INFO", f"can write the access log {path} again"),
    ]


async def test_an_unwritable_file_is_told_at_the_start(
    mock_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_log(str(tmp_path / "no" / "access.log")):
        await eventually(lambda: caplog.records)
    assert "No such file or directory" in caplog.text


async def test_no_memory_for_lines_costs_their_entries(
    mock_clock: MockClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(batch: RecordBatch) -> bytes:
        raise MemoryError

    dropped: list[int] = []
    path = tmp_path / "access.log"
    async with open_log(str(path), dropped) as log:
        await eventually(path.exists)
        monkeypatch.setattr(log, "_lines", none_left)
        log.record(RECORD)
        log.record(RECORD)
    assert dropped == [2]
    assert caplog.messages == [f"cannot write the access log {path}: Cannot allocate memory"]


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[str]:
    """A pipe without a reader: opening it blocks."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    yield str(path)
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # lets an abandoned thread go


async def drain(path: str, into: list[bytes]) -> None:
    def read() -> bytes:
        with open(path, "rb") as pipe:
            return pipe.read()

    into.append(await trio.to_thread.run_sync(read, abandon_on_cancel=True))


async def test_a_stuck_pipe_costs_records_and_no_time(
    mock_clock: MockClock, stuck: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    written: list[bytes] = []
    dropped: list[int] = []
    async with trio.open_nursery() as nursery, open_log(stuck, dropped, capacity=3) as log:
        await trio.testing.wait_all_tasks_blocked()
        for status in range(100, 105):
            log.record(replace(RECORD, status=status))
        assert dropped == [1, 1]
        slow = "it is written too slowly, entries are dropped"
        assert caplog.messages == [f"cannot write the access log {stuck}: {slow}"]
        nursery.start_soon(drain, stuck, written)
    assert written == [b"".join(combined_line(replace(RECORD, status=s)) for s in (100, 101, 102))]
    assert caplog.messages[1:] == [f"can write the access log {stuck} again"]


async def test_a_stuck_pipe_does_not_keep_the_balancer_from_ending(
    stuck: str, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    ended = trio.Event()
    dropped: list[int] = []

    async def serve() -> None:
        async with open_log(stuck, dropped) as log:
            log.record(RECORD)
        assert dropped == [1]
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await until_next_deadline_in(2)
        mock_clock.jump(1.9)
        await until_next_deadline_in(0.1)
        assert not ended.is_set()
        mock_clock.jump(0.1)
        await ended.wait()
    assert caplog.messages == [
        f"cannot write the access log {stuck}: it takes too long, its end is lost"
    ]
