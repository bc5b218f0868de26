"""`--save`: rounds appended to real files.

`mock_clock` stands still but for its `jump`: a worker thread never comes too late by chance.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.sample_statistics import server_statistics, statistics, worker_statistics
from tests.support.waiting import eventually, until_next_deadline_in
from trio_lb.observe.save import save_reports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trio.testing import MockClock

    from trio_lb.observe.statistics import Statistics


def snapshot() -> Statistics:
    """Four requests a second, all to one of the two servers."""
    seconds = trio.current_time()
    return statistics(
        server_statistics(name="web", served=int(4 * seconds), response_time_s=0.25),
        server_statistics(name="app", state="dead"),
        uptime_s=seconds,
        requests_total=int(4 * seconds),
        responses_by_class={"2xx": int(4 * seconds)},
        workers=(worker_statistics(requests=int(4 * seconds)),),
    )


async def next_round(clock: MockClock) -> None:
    await until_next_deadline_in(10)
    clock.jump(10)


async def test_json_lines(tmp_path: Path, mock_clock: MockClock, nursery: trio.Nursery) -> None:
    path = tmp_path / "report.jsonl"
    nursery.start_soon(save_reports, snapshot, 10, str(path))
    await eventually(lambda: path.exists() and path.read_bytes().count(b"\n") == 1)
    await next_round(mock_clock)
    await eventually(lambda: path.read_bytes().count(b"\n") == 2)
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["requests_per_s"], second["requests_per_s"]) == (None, 4.0)
    assert datetime.fromisoformat(second.pop("time")).tzname() == "UTC"
    server = {
        "name": "web",
        "address": "http://127.0.0.1:3001",
        "state": "alive",
        "weight": 1,
        "max_connections": 0,
        "active": 0,
        "served": 40,
        "failed": 0,
        "bytes_received": 0,
        "bytes_sent": 0,
        "response_time_s": 0.25,
        "p50_s": None,
        "p99_s": None,
        "requests_per_s": 4.0,
    }
    dead = {"name": "app", "state": "dead", "served": 0, "response_time_s": None}
    worker = {
        "number": 0,
        "state": "serving",
        "pid": 4711,
        "starts": 1,
        "heartbeat_age_s": 0.25,
        "connections": 0,
        "connections_total": 0,
        "requests": 40,
        "active": 0,
        "served": 0,
    }
    assert second == {
        "started_at": "2026-07-01T12:00:00.000Z",
        "uptime_s": 10.0,
        "algorithm": "round_robin",
        "total_active": 0,
        "total_served": 40,
        "alive_servers": 1,
        "average_response_time_s": 0.25,
        "requests_per_s": 4.0,
        "client_connections": 0,
        "client_connections_total": 0,
        "requests_total": 40,
        "responses_by_class": {"2xx": 40},
        "access_log_dropped": 0,
        "client_connections_refused": 0,
        "client_connections_let_go": 0,
        "accepting_pauses": 0,
        "slow_path_total": {},
        "servers": [server, server | dead | {"requests_per_s": 0.0}],
        "workers": [worker],
    }


async def test_text_goes_on_in_a_file_that_was_moved_away(
    tmp_path: Path, mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    path, rotated = tmp_path / "report.txt", tmp_path / "report.1"
    path.write_text("before\n")
    nursery.start_soon(save_reports, snapshot, 10, str(path))
    await eventually(lambda: path.read_text().endswith("00:00:00\n\n"))
    path.rename(rotated)
    await next_round(mock_clock)
    await eventually(lambda: path.exists() and path.read_text().endswith("00:00:10\n\n"))
    assert rotated.read_text().startswith("before\n[20")
    assert rotated.read_text().count("LB Summary") == path.read_text().count("LB Summary") == 1
    assert "Requests               40, 4.00/s (2xx 40)" in path.read_text()


async def test_trouble_is_told_once_and_left_behind(
    tmp_path: Path,
    mock_clock: MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "report.jsonl"
    path.symlink_to("/dev/full")
    nursery.start_soon(save_reports, snapshot, 10, str(path))
    full = f"cannot write the report to {path}: No space left on device"
    await eventually(lambda: caplog.messages == [full])
    path.unlink()
    path.mkdir()  # another trouble, the same state
    for _ in range(3):
        await next_round(mock_clock)
    await until_next_deadline_in(10)
    path.rmdir()
    mock_clock.jump(10)
    works = f"can write the report to {path} again"
    await eventually(lambda: caplog.messages == [full, works])
    assert path.read_bytes().count(b"\n") == 1


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[str]:
    """A pipe without a reader: opening it blocks."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    yield str(path)
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # lets an abandoned thread go


async def test_a_stuck_file_is_given_up_each_round_and_takes_one_thread(
    stuck: str, mock_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rounds = []

    def counted() -> Statistics:
        rounds.append(trio.current_time())
        return snapshot()

    nursery.start_soon(save_reports, counted, 10, stuck)
    for _ in range(6):  # five seconds of patience, five of sleep
        await until_next_deadline_in(5)
        mock_clock.jump(5)
    await eventually(lambda: len(rounds) == 4)
    assert rounds == [0, 10, 20, 30]
    assert caplog.messages == [f"cannot write the report to {stuck}: it takes too long"]
    reading = os.open(stuck, os.O_RDONLY | os.O_NONBLOCK)
    await eventually(lambda: len(caplog.messages) == 2)
    assert caplog.messages[1] == f"can write the report to {stuck} again"
    text = os.read(reading, 65536).decode()
    os.close(reading)
    # The write that was stuck and the one of this round; those between were given up.
    assert text.count("LB Summary") == 2
    nursery.cancel_scope.cancel()
