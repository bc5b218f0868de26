"""Workers that are not ready yet: what they do to nobody, and how what waits for them ends.

A `sitecustomize` of these tests has workers die or hang before they are ready.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks
from tests.support.client import open_client, request
from tests.support.in_workers import in_workers
from tests.support.process import ROOT, run_balancer, run_process
from tests.support.supervised import (
    GET,
    Supervised,
    open_supervisor,
    run_supervisor,
    supervised_profile,
    until,
    workers_of,
    write_profile,
)
from tests.support.waiting import PATIENCE
from trio_lb.supervise import monitor as monitor_module
from trio_lb.supervise import supervisor as supervisor_module
from trio_lb.supervise.monitor import WorkersKeepDying

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.backend import Exchange

OK = besides_checks(scripts.answer())

#: As many workers start as there are files `may-start-...`; what the others do is in SPOILED.
SITECUSTOMIZE = in_workers("""\
import time
if "SPOILED" in os.environ:
    here = os.path.dirname(__file__)
    for name in os.listdir(here):
        if name.startswith("may-start"):
            try:
                os.unlink(os.path.join(here, name))
            except FileNotFoundError:
                continue
            break
    else:
        exec(os.environ["SPOILED"])
""")
HANG = "time.sleep(1000)"
HANG_THEN_DIE = """\
while not os.path.exists(os.path.join(here, "die")):
    time.sleep(0.05)
os._exit(3)
"""


def refuses(address: tuple[str, int | None]) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(address) == errno.ECONNREFUSED


@pytest.fixture
def spoil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Workers see the directory's `sitecustomize`; it does something when SPOILED is set."""
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    monkeypatch.syspath_prepend(tmp_path)
    return monkeypatch


async def test_workers_that_hang_before_they_are_ready_end_the_start(
    spoil: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Scale: 1 s for each to become ready (30 s), 2 s for all (60 s)."""
    spoil.setenv("SPOILED", HANG)
    spoil.setattr(monitor_module, "START", 1.0)
    spoil.setattr(monitor_module, "_PATIENCE", 2.0)
    async with open_backend(OK) as backend:
        supervisor = Supervised(supervised_profile(backend.url)).supervisor
        await supervisor.bind()
        with (
            trio.fail_after(PATIENCE),
            pytest.raises(WorkersKeepDying, match="was not ready after"),
        ):
            await supervisor.run()
    assert "was not ready after" in caplog.text
    assert not workers_of(os.getpid())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_start_whose_workers_hang(
    number: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    write_profile(tmp_path / "config.yaml", ["http://127.0.0.1:1"], pid_file="x.pid")
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "SPOILED": HANG}
    async with run_balancer("start", cwd=tmp_path, env=env) as child:
        await until(lambda: len(workers_of(child.pid)) == 2)
        child.signal(number)
        assert await child.wait() == 0
    assert "listening" not in child.output
    assert not (tmp_path / "x.pid").exists()


async def test_a_term_ends_a_reload_whose_workers_hang_and_drains_the_present_ones(
    spoil: pytest.MonkeyPatch,
) -> None:
    draining = trio.Event()

    async def finish(exchange: Exchange) -> None:
        await draining.wait()
        await exchange.respond(b"finished")

    async with (
        open_backend(besides_checks(finish)) as backend,
        open_supervisor(backend.url) as balancer,
        open_client(balancer.url) as client,
    ):
        address = ("127.0.0.1", urlsplit(balancer.url).port)
        spoil.setenv("SPOILED", HANG)
        await client.send(GET)
        await until(lambda: asked(backend))
        balancer.profile = supervised_profile(backend.url, workers=3)
        balancer.supervisor.reload()
        await until(lambda: len(balancer.pids) == 2 + 3)
        balancer.supervisor.drain()
        await until(lambda: refuses(address))
        draining.set()
        response = await client.read_response()
        assert (response.body, response.header("connection")) == (b"finished", "close")
        assert await balancer.end()
        assert not balancer.pids


async def test_a_refused_reload_has_met_nobody(
    spoil: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also while it was tried: one of its workers was ready, with another profile and weight."""
    spoil.setattr(monitor_module, "_PAUSES", (0.0, 0.1))
    listen = "http://127.0.0.1:0"
    async with (
        open_backend(OK) as backend,
        open_supervisor({"url": backend.url, "weight": 2}, listen=listen) as balancer,
    ):
        pids = balancer.pids
        (tmp_path / "may-start-one").touch()
        spoil.setenv("SPOILED", HANG_THEN_DIE)
        balancer.profile = supervised_profile(
            {"url": backend.url, "weight": 5, "max_connections": 7},
            listen=listen,
            workers=4,
            limits={"target": 100},
        )
        balancer.supervisor.reload()
        await until(lambda: len(balancer.at_work) == 2 + 1)  # one of four
        long = f"{balancer.url}/{'a' * 100}"
        asked_meanwhile = 0
        while "nothing was changed" not in caplog.text:
            with trio.fail_after(
                PATIENCE
            ):  # a socket that nobody accepts from yet would have a queue
                assert (await request(long)).status == 200
            server = balancer.statistics().servers[0]
            assert (server.weight, server.max_connections) == (2, 0)
            asked_meanwhile += 1
            if asked_meanwhile == 20:
                (tmp_path / "die").touch()
        assert asked_meanwhile >= 20
        assert "failed to start" in caplog.text
        await until(lambda: balancer.pids == pids)
        assert (await request(long)).status == 200
        spoil.delenv("SPOILED")
        await balancer.reload({"url": backend.url, "weight": 5}, listen=listen)
        assert balancer.statistics().servers[0].weight == 5


async def test_a_term_is_heard_while_addresses_are_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or whatever else opening a socket may wait for."""

    async def never(*_: object, **__: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr("trio_lb.supervise.sockets.bind_listeners", never)
    supervisor = Supervised(supervised_profile("http://127.0.0.1:1")).supervisor
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.bind)
            await wait_all_tasks_blocked()
            supervisor.drain()
        await supervisor.run()
    assert supervisor.ended
    assert supervisor.clean


@pytest.mark.parametrize("ticks", range(12))
async def test_a_term_may_come_at_any_tick_of_a_start(
    ticks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without anything to wait for, it comes to the workers in a few of them."""
    supervisor = Supervised(supervised_profile("http://127.0.0.1:1", health_check="off")).supervisor
    await supervisor.bind()

    async def read_at_once(read: Callable[[], object]) -> object:
        await trio.lowlevel.checkpoint()
        return read()

    monkeypatch.setattr(supervisor, "_read", read_at_once)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            supervisor.drain()
    assert supervisor.ended
    assert supervisor.clean
    assert not workers_of(os.getpid())


async def test_reading_that_hangs_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A network file system that is away, say. Scale: 300 ms until a reload is given up (10 s)."""
    monkeypatch.setattr(supervisor_module, "READING", 0.3)
    async with open_backend(OK) as backend, open_supervisor(backend.url) as balancer:
        pids = balancer.pids
        back, load = threading.Event(), balancer.supervisor._load
        monkeypatch.setattr(balancer.supervisor, "_load", lambda: back.wait(30) and load())
        for so_many in (1, 2):  # what hangs is not tried again and again
            balancer.supervisor.reload()
            assert (await request(balancer.url)).status == 200
            message = "a file that it names, could not be read within 0.3 s: nothing was changed"
            await until(lambda: caplog.text.count(message) == so_many)  # noqa: B023
        assert balancer.pids == pids
        assert balancer.supervisor._reader.borrowed_tokens == 1
        back.set()
        await until(lambda: not balancer.supervisor._reader.borrowed_tokens)
        await balancer.reload(backend.url)
        back.clear()
        monkeypatch.setattr(supervisor_module, "READING", 60.0)
        balancer.supervisor.reload()
        await until(lambda: balancer.supervisor._reader.borrowed_tokens)
        began = time.monotonic()
        assert await balancer.end()
        assert time.monotonic() - began < 20, "it waited for what hangs, for up to 30 s"
        back.set()


@pytest.mark.parametrize("what", ["fifo", "directory", "device"])
async def test_a_profile_that_is_no_file_any_more(what: str, tmp_path: Path) -> None:
    async with open_backend(OK) as backend, run_supervisor(tmp_path, backend.url) as balancer:
        balancer.profile.unlink()
        if what == "fifo":
            os.mkfifo(balancer.profile)
        elif what == "directory":
            balancer.profile.mkdir()
        else:
            balancer.profile.symlink_to("/dev/zero")
        balancer.child.signal(signal.SIGHUP)
        reason = "is a directory" if what == "directory" else "it is not a regular file"
        await balancer.child.wait_line(f"config.yaml: cannot read it: {reason}")
        await balancer.child.wait_line("the profile is invalid: nothing was changed")
        assert (await request(balancer.url)).status == 200
        line = [sys.executable, "-m", "trio_lb", "reload"]
        async with run_process(line, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as asking:
            assert await asking.wait() == 2
        assert asking.lines == [f"trio-lb: config.yaml: cannot read it: {reason}"]
        balancer.child.signal(signal.SIGTERM)
        assert await balancer.child.wait() == 0
        if what == "directory":
            balancer.profile.rmdir()
