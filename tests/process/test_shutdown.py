"""The end: drained, cut or at once, and nothing left behind (row 19)."""

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
from tests.support.process import run_balancer
from tests.support.supervised import (
    GET,
    is_gone,
    open_supervisor,
    run_supervisor,
    until,
    write_profile,
)
from trio_lb.supervise import monitor as monitor_module

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.backend import Exchange
    from tests.support.client import Client

BULK = 8_000_000
BULKY = b"GET /bulk HTTP/1.1\r\nHost: a\r\n\r\n"


async def quick_or_bulky(exchange: Exchange) -> None:
    """Answers at once, or with 8 MB."""
    bulky = exchange.request.target == "/bulk"
    await (scripts.bulk(BULK) if bulky else scripts.answer())(exchange)


async def read_slowly(client: Client, seconds: float) -> int:
    """Read to the end, at a steady pace; how many bytes came."""
    size, began = 0, trio.current_time()
    while data := await client.stream.receive_some(65536):
        size += len(data)
        await trio.sleep(max(0.0, began + seconds * size / BULK - trio.current_time()))
    return size


async def test_row_19_term_under_load_finishes_every_answer(tmp_path: Path) -> None:
    async with (
        open_backend(besides_checks(quick_or_bulky)) as backend,
        run_supervisor(
            tmp_path,
            backend.url,
            workers=3,
            listen=["http://127.0.0.1:0", f"unix:{tmp_path}/x.sock"],
            pid_file="x.pid",
        ) as balancer,
    ):
        child, pids = balancer.child, balancer.pids
        assert (await request(f"unix:{tmp_path}/x.sock")).status == 200
        load = Load(balancer.url, clients=8)
        sizes = []

        async def slow_client() -> None:
            async with open_client(balancer.url) as client:
                await client.send(BULKY)
                sizes.append(await read_slowly(client, 2.0))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(slow_client)
            nursery.start_soon(load.run, 2.0)
            await trio.sleep(0.7)
            assert len(pids) == 3
            child.signal(signal.SIGTERM)
            termed = trio.current_time()
            status, ended = await child.wait(), trio.current_time()
        assert status == 0
        assert len(sizes) == 3
        assert min(sizes) > BULK
        # Whoever was let in got the answer; later ones were refused, at once and not in the end.
        assert all(each.started > termed and not each.response.status for each in load.failures)
        refused = [each for each in load.failures if each.response.end is End.REFUSED]
        assert termed < refused[0].started < ended, "they were kept waiting until the end"
        assert all(map(is_gone, pids))
        assert sorted(os.listdir(tmp_path)) == ["config.yaml"]


async def test_row_19_a_client_that_is_too_slow_is_cut(tmp_path: Path) -> None:
    async with (
        open_backend(besides_checks(quick_or_bulky)) as backend,
        run_supervisor(tmp_path, backend.url, timeouts={"drain": "700ms"}) as balancer,
        open_client(balancer.url) as client,
    ):
        await client.send(BULKY)
        await until(lambda: asked(backend))
        started = time.monotonic()
        balancer.child.signal(signal.SIGTERM)
        assert await balancer.child.wait() == 1
        assert time.monotonic() - started > 0.6
        assert not (await client.read_response()).complete


async def test_row_19_a_second_signal_ends_all_workers_at_once(tmp_path: Path) -> None:
    url = f"unix:{tmp_path}/x.sock"
    async with (
        open_backend(besides_checks(scripts.hang())) as backend,
        run_supervisor(tmp_path, backend.url, pid_file="x.pid", listen=url) as balancer,
        open_client(url) as client,
    ):
        await client.send(GET)
        await until(lambda: asked(backend))
        pids = balancer.pids
        balancer.child.signal(signal.SIGTERM)
        await balancer.child.wait_line("draining")
        started = time.monotonic()
        balancer.child.signal(signal.SIGINT)
        assert await balancer.child.wait() == 1
        assert time.monotonic() - started < 20, "it drained, for up to 30 s"
        assert all(map(is_gone, pids))
        assert sorted(os.listdir(tmp_path)) == ["config.yaml"]


async def test_row_19_workers_leave_signals_to_their_supervisor(tmp_path: Path) -> None:
    """`pkill -HUP -f trio_lb`, `docker kill`, or a terminal may reach them too."""
    script = besides_checks(scripts.delayed(0.5, scripts.answer(b"finished")))
    async with (
        open_backend(script) as backend,
        run_supervisor(tmp_path, backend.url) as balancer,
        open_client(balancer.url) as client,
    ):
        await client.send(GET)
        await until(lambda: asked(backend))
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            for pid in balancer.pids:
                os.kill(pid, number)
        balancer.child.signal(signal.SIGTERM)
        assert (await client.read_response()).body == b"finished"
        assert await balancer.child.wait() == 0


async def test_row_19_term_at_the_start_ends_it_as_well(tmp_path: Path) -> None:
    """In the first health check; nobody has been let in."""
    async with open_backend(scripts.hang()) as backend:
        check = {"timeout": "1s"}
        profile = tmp_path / "config.yaml"
        write_profile(profile, [backend.url], pid_file="x.pid", health_check=check)
        async with run_balancer("start", cwd=tmp_path) as child:
            await backend.wait_until(lambda backend: bool(backend.requests))
            child.signal(signal.SIGTERM)
            assert await child.wait() == 0
        assert "listening" not in child.output
        assert sorted(os.listdir(tmp_path)) == ["config.yaml"]


async def test_a_second_one_on_the_same_port_is_refused(tmp_path: Path) -> None:
    """Sockets of several processes could share the port: neither would notice."""
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        run_supervisor(tmp_path, backend.url) as balancer,
    ):
        for listen in (balancer.url, balancer.url.replace("127.0.0.1", "*")):
            write_profile(tmp_path / "other.yaml", [backend.url], listen=listen, pid_file="y.pid")
            async with run_balancer("start", "-p", "other.yaml", cwd=tmp_path) as other:
                assert await other.wait() == 1
            (line,) = other.lines
            assert line == f"trio-lb: cannot listen on {listen}: Address already in use"
        assert not (tmp_path / "y.pid").exists()
        assert {(await request(balancer.url)).status for _ in range(10)} == {200}


async def test_a_worker_that_takes_long_to_end_has_drained_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Python's own end may take seconds on a busy machine. Scale: 2.5 s, and 1 s of silence (4 s).

    It was killed for its silence, and a program that had cut nobody ended with 1.
    """
    (tmp_path / "sitecustomize.py").write_text(
        in_workers("import atexit, time; atexit.register(time.sleep, 2.5)")
    )
    monkeypatch.syspath_prepend(tmp_path)
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        open_supervisor(backend.url, workers=1) as balancer,
    ):
        assert (await request(balancer.url)).status == 200
        monkeypatch.setattr(monitor_module, "SILENCE", 1.0)
        assert await balancer.end()
    assert "did not respond" not in caplog.text
