"""Workers that die, hang, or can't be started; a supervisor that dies (rows 16 to 18 and 20)."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks
from tests.support.client import End, open_client, request
from tests.support.in_workers import in_workers
from tests.support.load import Load
from tests.support.process import ROOT, run_balancer
from tests.support.supervised import (
    GET,
    is_gone,
    open_supervisor,
    run_supervisor,
    until,
    write_profile,
)
from tests.support.waiting import PATIENCE
from trio_lb.supervise import monitor as monitor_module

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.supervised import Supervised

OK = besides_checks(scripts.answer())


async def kill_and_await_next(balancer: Supervised, pid: int) -> float:
    """Kill a worker; seconds until another one serves in its place."""
    beside = set(balancer.pids) - {pid}
    os.kill(pid, signal.SIGKILL)
    killed = trio.current_time()
    await until(lambda: is_gone(pid))
    await until(lambda: len(set(balancer.at_work) - beside - {pid}) == 1)
    return trio.current_time() - killed


async def test_row_16_a_killed_worker_costs_what_it_had_in_hand() -> None:
    """Scale: 8 clients, one kill."""
    opened = trio.current_time()
    async with open_backend(OK) as backend, open_supervisor(backend.url, workers=2) as balancer:
        start = trio.current_time() - opened
        load = Load(balancer.url, clients=8, pause=0.002)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 20.0)
            await trio.sleep(0.7)
            await until(lambda: balancer.statistics().client_connections == 8)
            workers = balancer.statistics().workers
            worker = max(workers, key=lambda worker: worker.connections)
            pid = worker.pid
            assert pid is not None
            killed = trio.current_time()
            took = await kill_and_await_next(balancer, pid)
            await trio.sleep(0.3)
            load.stop()
        # The bar is a second, on a machine that has nothing else to do: what is more than that
        # may only be the time that starting takes here.
        assert took < max(1, 3 * start)
        # Each client had one connection, on one of the two; what it met there was met at once.
        assert 0 < len(load.failures) <= worker.connections
        assert not [each for each in load.failures if each.response.end is End.REFUSED]
        assert all(killed - 0.5 < each.started < killed + 0.2 for each in load.failures)
        assert not [each for each in load.failures if each.response.status]
        await until(lambda: balancer.statistics().client_connections == 0)
        statistics = balancer.statistics()
        assert statistics.total_active == 0
        whole = [each for each in load.results if each.ok]
        # What the dead one had finished is counted; its last answers may have been read by nobody.
        assert len(whole) <= statistics.total_served <= len(load.results)
        assert statistics.requests_total >= len(whole)
        assert await balancer.end()


async def test_row_16_five_kills_in_a_row_refuse_nobody() -> None:
    async with open_backend(OK) as backend, open_supervisor(backend.url, workers=3) as balancer:
        load = Load(balancer.url, clients=6, pause=0.002)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 20.0)
            await trio.sleep(0.5)
            for _ in range(5):
                await kill_and_await_next(balancer, balancer.pids[0])  # the oldest
            await trio.sleep(0.3)
            load.stop()
        assert len(load.failures) <= 5 * 6
        assert not [each for each in load.failures if each.response.end is End.REFUSED]
        after = load.since(load.failures[-1].started + 0.1)
        assert after
        assert all(each.ok for each in after)
        assert balancer.statistics().total_active == 0


async def come(url: str, served: trio.Event) -> None:
    """A client that comes late and is served."""
    assert (await request(url)).status == 200
    served.set()


async def test_row_17_a_stuck_worker_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who has come to its queue meanwhile is served by others.

    Scale: 8 clients and 12 that come while it is stuck; 1.5 s without a sign of life (4 s).
    """
    monkeypatch.setattr(monitor_module, "SILENCE", 1.5)
    async with open_backend(OK) as backend, open_supervisor(backend.url, workers=2) as balancer:
        load = Load(balancer.url, clients=8, pause=0.01)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 20.0)
            await trio.sleep(0.5)
            # The one with most clients: the system may have given all of them to one of the two.
            workers = sorted(balancer.statistics().workers, key=lambda each: each.connections)
            other, stuck = (each.pid for each in workers)
            assert stuck is not None
            os.kill(stuck, signal.SIGSTOP)
            stopped = trio.current_time()
            late = [trio.Event() for _ in range(12)]
            for event in late:
                nursery.start_soon(come, balancer.url, event)
            await until(lambda: is_gone(stuck))
            assert trio.current_time() - stopped < 2 * monitor_module.SILENCE
            await until(lambda: len(balancer.at_work) == 2)
            with trio.fail_after(PATIENCE):
                for event in late:
                    await event.wait()
            load.stop()
        assert other in balancer.pids
        assert 0 < len(load.failures) <= 8
        assert f"(pid {stuck}) did not respond" in caplog.text
        assert await balancer.end()


async def test_row_17_a_stalled_supervisor_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen container, say: all stood still, and the supervisor looks first."""
    monkeypatch.setattr(monitor_module, "SILENCE", 1.5)
    async with open_backend(OK) as backend, open_supervisor(backend.url) as balancer:
        pids = balancer.pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1.8)  # noqa: ASYNC251 -- nothing here goes on meanwhile
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        await trio.sleep(1)
        assert balancer.pids == pids
        assert (await request(balancer.url)).status == 200


async def test_row_18_one_that_keeps_dying_is_started_after_growing_pauses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Scale: pauses of up to 2 s; the real ones, up to 30 s, are in test_monitor.py."""
    monkeypatch.setattr(monitor_module, "_PAUSES", (0.0, 0.1, 0.2, 2.0))
    async with open_backend(OK) as backend, open_supervisor(backend.url, workers=2) as balancer:
        steady = balancer.pids[0]

        async def kill_the_other() -> None:
            while True:
                for pid in set(balancer.pids) - {steady}:
                    os.kill(pid, signal.SIGKILL)
                await trio.sleep(0.02)

        load = Load(balancer.url, clients=8, pause=0.01)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_the_other)
            await until(lambda: "starting a new one in 2 s" in caplog.text)
            await load.run(1.5)
            nursery.cancel_scope.cancel()
        pauses = [
            r.getMessage().partition(" one")[2]
            for r in caplog.records
            if "starting a new one" in r.msg
        ]
        assert pauses == [" in 0.1 s", " in 0.2 s", " in 2 s"]
        starts = sorted(worker.starts for worker in balancer.statistics().workers)
        assert starts[0] == 1
        assert starts[1] >= 3, "whoever reads the reports does not see it"
        # Nobody waits for the one that is not there.
        assert not load.failures
        assert max(each.seconds for each in load.results) < 1
        await until(lambda: len(balancer.at_work) == 2)
        assert balancer.pids[0] == steady


async def test_row_18_workers_that_never_start_end_the_supervisor(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(in_workers("os._exit(3)"))
    write_profile(tmp_path / "config.yaml", ["http://127.0.0.1:1"], pid_file="x.pid")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    async with run_balancer("start", cwd=tmp_path, env={"PYTHONPATH": path}) as child:
        assert await child.wait() == 1
    assert (
        child.lines[-1]
        == "trio-lb: 5 workers in a row failed to start: the last one ended with exit code 3"
    )
    assert len([line for line in child.lines if "starting a new one" in line]) <= 8
    assert not (tmp_path / "x.pid").exists()


async def test_row_20_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    script = besides_checks(scripts.delayed(1, scripts.answer(b"finished")))
    async with (
        open_backend(script) as backend,
        run_supervisor(tmp_path, backend.url, pid_file="x.pid") as first,
        open_client(first.url) as busy,
        open_client(first.url) as idle,
    ):
        await busy.send(GET)
        await backend.wait_until(lambda backend: bool(asked(backend)))
        pids = first.pids
        assert len(pids) == 2
        first.child.signal(signal.SIGKILL)
        await first.child.wait()
        # The next one is here before the old workers have ended, with the same address and files.
        async with run_supervisor(
            tmp_path, backend.url, listen=first.url, pid_file="x.pid"
        ) as second:
            assert second.url == first.url
            response = await busy.read_response()
            assert (response.body, response.header("connection")) == (b"finished", "close")
            assert not (await idle.read_until_close())[0]
            await until(lambda: all(map(is_gone, pids)))  # in 3 s, and not in the 30 of a drain
            assert (await request(second.url)).body == b"finished"


async def test_row_20_workers_that_drain_end_with_their_supervisor(
    tmp_path: Path,
) -> None:
    async with (
        open_backend(besides_checks(scripts.hang())) as backend,
        run_supervisor(tmp_path, backend.url) as balancer,
        open_client(balancer.url) as client,
    ):
        await client.send(GET)
        await backend.wait_until(lambda backend: bool(asked(backend)))
        pids = balancer.pids
        balancer.child.signal(signal.SIGTERM)
        await balancer.child.wait_line("draining")
        await until(lambda: len(balancer.pids) == 1)  # the idle one has ended
        balancer.child.signal(signal.SIGKILL)
        await until(lambda: all(map(is_gone, pids)))
