"""Logs that are moved away, deleted, full or stuck, while requests are served (row 25)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import CHECK_PATH, besides_checks
from tests.support.client import request
from tests.support.load import Load
from tests.support.net import free_port, http_url
from tests.support.process import run_balancer, wait_listening
from tests.support.supervised import (
    open_supervisor,
    run_supervisor,
    until,
    workers_of,
    write_profile,
)

if TYPE_CHECKING:
    from pathlib import Path

OK = besides_checks(scripts.answer())


def request_ids(text: str) -> Counter[str]:
    """How often each request is in an access log; every line of it is whole."""
    return Counter(json.loads(line)["request_id"] for line in text.splitlines())


async def test_row_25_moved_and_deleted_logs_lose_no_line(tmp_path: Path) -> None:
    """As logrotate does it, with a signal that is not needed: every request is in one line.

    Scale: two rotations and a deletion under load, two workers.
    """
    path = tmp_path / "access.log"
    async with (
        open_backend(OK) as backend,
        run_supervisor(
            tmp_path, backend.url, access_log=str(path), access_log_format="json"
        ) as balancer,
    ):
        load = Load(balancer.url, clients=8, pause=0.005)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 60.0)
            for number in (1, 2):
                await until(lambda: path.exists() and path.stat().st_size)
                path.rename(tmp_path / f"access.log.{number}")
                for pid in (balancer.child.pid, *balancer.pids):
                    os.kill(pid, signal.SIGUSR1)
            await until(lambda: path.exists() and path.stat().st_size)
            with path.open() as deleted:
                path.unlink()
                await until(lambda: path.exists() and path.stat().st_size)
                load.stop()
                while nursery.child_tasks:  # noqa: ASYNC110 -- until the last answer has come
                    await trio.sleep(0.02)
                balancer.child.signal(signal.SIGTERM)
                assert await balancer.child.wait() == 0
                logs = [deleted.read()]
        logs += [(tmp_path / name).read_text() for name in ("access.log.1", "access.log.2")]
        logs.append(path.read_text())
    assert len(logs) == 4
    assert not load.failures
    logged = sum(map(request_ids, logs), Counter())
    assert logged == Counter(result.request_id for result in load.results)
    assert balancer.child.output.count("SIGUSR1 ignored: ") == 2


async def test_row_25_a_full_disk_fails_no_request_and_is_left_behind(tmp_path: Path) -> None:
    """Scale: 200 requests with the disk full, then it has room again; no restart."""
    path = tmp_path / "access.log"
    path.symlink_to("/dev/full")
    async with (
        open_backend(OK) as backend,
        open_supervisor(backend.url, access_log=str(path)) as balancer,
    ):
        for _ in range(200):
            assert (await request(balancer.url)).status == 200
        await until(lambda: balancer.statistics().access_log_dropped == 200)
        path.unlink()
        assert (await request(balancer.url)).status == 200
        await until(lambda: path.exists() and path.read_text().count("\n") == 1)
        assert balancer.statistics().access_log_dropped == 200


async def test_row_25_a_stuck_access_log_holds_nobody_up(tmp_path: Path) -> None:
    """Scale: 200 requests before somebody reads the pipe; then all of their lines are there."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    async with (
        open_backend(OK) as backend,
        open_supervisor(backend.url, access_log=str(path)) as balancer,
    ):
        for _ in range(200):
            assert (await request(balancer.url)).status == 200
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        lines = 0

        def read() -> bool:
            nonlocal lines
            with contextlib.suppress(BlockingIOError):
                lines += os.read(reader, 1 << 20).count(b"\n")
            return lines == 200

        await until(read)
        os.close(reader)
        assert balancer.statistics().access_log_dropped == 0


async def test_row_25_nobody_waits_for_standard_error(tmp_path: Path) -> None:
    """It is a pipe that nobody reads: workers serve, and the supervisor reloads and ends.

    Scale: two deaths of a server, ten other lines, and a reload.
    """
    pipe, url = tmp_path / "stderr", http_url("127.0.0.1", free_port())
    os.mkfifo(pipe)
    full = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    settings = {
        "listen": url,
        "health_check": {"path": CHECK_PATH, "interval": "200ms"},
        "pid_file": "x.pid",
    }
    through = ["sh", "-c", f'exec "$@" 2>{pipe}', "sh"]
    async with open_backend(OK) as one, open_backend(OK) as two:
        write_profile(tmp_path / "config.yaml", [one.url, two.url], **settings)
        async with run_balancer("start", cwd=tmp_path, through=through) as child:
            await wait_listening(url, child)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(full, b"x" * 4096)
            load = Load(url, clients=4, pause=0.01)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run, 60.0)
                for _ in range(2):
                    before = len(load.results)
                    await one.kill()
                    await until(lambda: len(load.results) > before + 50)  # noqa: B023
                    await one.start()
                    asked = len(one.requests)
                    await until(lambda: len(one.requests) > asked + 20)  # noqa: B023
                for _ in range(10):
                    child.signal(signal.SIGUSR1)
                old = set(workers_of(child.pid))
                # Which takes new workers:
                write_profile(tmp_path / "config.yaml", [one.url, two.url], **settings, retries=1)
                child.signal(signal.SIGHUP)
                await until(lambda: not old & set(workers_of(child.pid)))
                load.stop()
            assert not load.failures
            os.read(full, 1 << 20)
            child.signal(signal.SIGTERM)
            assert await child.wait() == 0
        assert b" lines of this log were lost: nobody took them)" in os.read(full, 1 << 20)
        os.close(full)
