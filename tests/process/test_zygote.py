"""Workers are forked from a zygote: they share its memory, and survive it."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from tests.support import scripts, tunnels
from tests.support.backend import open_backend
from tests.support.balancer import besides_checks
from tests.support.client import open_client, request
from tests.support.process import ROOT, run_balancer
from tests.support.supervised import (
    Supervised,
    is_gone,
    open_supervisor,
    run_supervisor,
    supervised_profile,
    until,
    write_profile,
    zygotes_of,
)
from tests.support.waiting import PATIENCE
from trio_lb.supervise import processes
from trio_lb.supervise.monitor import WorkersKeepDying

OK = besides_checks(scripts.answer())

pytestmark = pytest.mark.skipif(not processes.can_fork(), reason="there is no zygote here")

#: Runs in zygotes alone.
SITECUSTOMIZE = """\
import os, sys, time
if "trio_lb.supervise.zygote" in sys.orig_argv and "SPOILED" in os.environ:
    exec(os.environ["SPOILED"])
"""


@pytest.fixture
def spoil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Zygotes see the directory's `sitecustomize`; it does something when SPOILED is set."""
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    monkeypatch.syspath_prepend(tmp_path)
    return monkeypatch


def own_kib(pid: int) -> int:
    """What a process shares with no other one."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


async def test_a_further_worker_holds_little_memory_of_its_own() -> None:
    """Scale: 10 MiB each, after 200 requests. One with its own interpreter holds 19."""
    async with open_backend(OK) as backend, open_supervisor(backend.url, workers=4) as balancer:
        async with open_client(balancer.url) as client:
            for _ in range(200):
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await client.read_response()).status == 200
        assert len(balancer.pids) == 4
        assert max(map(own_kib, balancer.pids)) < 10 * 1024


async def test_a_worker_is_a_process_as_any() -> None:
    """A session of its own, no signals of terminals, no descriptor that is not its business."""
    async with open_backend(OK) as backend, open_supervisor(backend.url, workers=2) as balancer:
        (zygote,) = balancer.zygotes
        for pid in balancer.pids:
            assert os.getsid(pid) == os.getpgid(pid) == pid
            status = status_of(pid)
            assert int(status["PPid"]) == os.getpid()
            ignored = int(status["SigIgn"], 16)
            assert ignored >> (signal.SIGINT - 1) & 1
            assert ignored >> (signal.SIGTERM - 1) & 1
            assert int(status["SigBlk"], 16) == 0
            assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert len(os.listdir(f"/proc/{zygote}/fd")) == 4  # one more than the standard streams


async def test_what_became_of_a_worker_is_known(caplog: pytest.LogCaptureFixture) -> None:
    async with open_backend(OK) as backend, open_supervisor(backend.url, workers=1) as balancer:
        (pid,) = balancer.pids
        os.kill(pid, signal.SIGSEGV)
        await until(lambda: "worker 0 was killed by SIGSEGV" in caplog.text)
        await until(lambda: balancer.pids not in ([], [pid]))
        assert (await request(balancer.url)).status == 200


async def test_a_zygote_that_dies_takes_nobody_along(caplog: pytest.LogCaptureFixture) -> None:
    async with open_backend(OK) as backend, open_supervisor(backend.url, workers=1) as balancer:
        (pid,), (zygote,) = balancer.pids, balancer.zygotes
        os.kill(zygote, signal.SIGKILL)
        assert (await request(balancer.url)).status == 200
        assert balancer.pids == [pid]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: balancer.pids not in ([], [pid]))
        assert f"the zygote (pid {zygote}) was killed by SIGKILL" in caplog.text
        assert balancer.zygotes != [zygote]
        assert (await request(balancer.url)).status == 200


async def test_a_zygote_that_stands_still_is_replaced(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scale: 0.3 s for an answer (5 s)."""
    async with open_backend(OK) as backend, open_supervisor(backend.url, workers=1) as balancer:
        (pid,), (zygote,) = balancer.pids, balancer.zygotes
        os.kill(zygote, signal.SIGSTOP)
        monkeypatch.setattr(processes, "ANSWERS", 0.3)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: "its zygote did not respond for 0.3 s" in caplog.text)
        monkeypatch.undo()
        await until(lambda: balancer.pids not in ([], [pid]))
        assert is_gone(zygote)
        assert (await request(balancer.url)).status == 200


async def test_zygotes_that_never_start_end_the_supervisor(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    write_profile(tmp_path / "config.yaml", ["http://127.0.0.1:1"])
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    env = {"PYTHONPATH": path, "SPOILED": "os._exit(3)"}
    async with run_balancer("start", cwd=tmp_path, env=env) as child:
        assert await child.wait() == 1
    assert child.lines[-1] == (
        "trio-lb: 5 workers in a row failed to start: the last one could not be started: "
        "its zygote ended with exit code 3"
    )


async def test_a_zygote_that_hangs_before_it_is_ready_ends_the_start(
    spoil: pytest.MonkeyPatch,
) -> None:
    """Scale: 0.5 s to become ready (30 s)."""
    spoil.setenv("SPOILED", "time.sleep(1000)")
    spoil.setattr(processes, "READY", 0.5)
    async with open_backend(OK) as backend:
        supervisor = Supervised(supervised_profile(backend.url)).supervisor
        await supervisor.bind()
        with (
            trio.fail_after(PATIENCE),
            pytest.raises(WorkersKeepDying, match="its zygote did not respond for"),
        ):
            await supervisor.run()
    assert not zygotes_of(os.getpid())


async def test_a_term_ends_a_start_or_a_reload_whose_zygote_hangs(
    spoil: pytest.MonkeyPatch,
) -> None:
    async with open_backend(OK) as backend, open_supervisor(backend.url) as balancer:
        pids = balancer.pids
        spoil.setenv("SPOILED", "time.sleep(1000)")
        balancer.profile = supervised_profile(backend.url, workers=3)
        balancer.supervisor.reload()
        await until(lambda: len(balancer.zygotes) == 2)
        assert balancer.pids == pids
        assert await balancer.end()


async def test_a_reload_that_takes_new_workers_finds_the_code_as_it_is_by_then(
    tmp_path: Path, spoil: pytest.MonkeyPatch
) -> None:
    """And those that drain have no zygote any more, as nobody is started for them."""
    new = tmp_path / "new"
    async with AsyncExitStack() as stack:
        echo = await stack.enter_async_context(
            open_backend(besides_checks(scripts.switching(scripts.mirror)))
        )
        balancer = await stack.enter_async_context(open_supervisor(echo.url, workers=1))
        client = await stack.enter_async_context(open_client(balancer.url))
        tunnel = await tunnels.enter(client)
        (old,) = balancer.pids
        (zygote,) = balancer.zygotes
        spoil.setenv("SPOILED", f"os.close(os.open({str(new)!r}, os.O_CREAT))")
        assert not new.exists()
        await balancer.reload(echo.url, workers=2)
        assert new.exists()
        await until(lambda: is_gone(zygote))
        assert len(balancer.zygotes) == 1
        await tunnel.send(b"ping")
        assert await tunnel.receive(4) == b"ping"
        assert old in balancer.pids


async def test_a_zygote_ends_with_its_supervisor(tmp_path: Path) -> None:
    async with open_backend(OK) as backend, run_supervisor(tmp_path, backend.url) as balancer:
        processes = [*balancer.pids, *zygotes_of(balancer.child.pid)]
        assert len(processes) == 3
        balancer.child.signal(signal.SIGKILL)
        await balancer.child.wait()
        await until(lambda: all(map(is_gone, processes)))


async def test_where_there_is_none_each_worker_has_an_interpreter(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "can_fork", lambda: False)
    async with open_backend(OK) as backend, open_supervisor(backend.url, workers=2) as balancer:
        assert not balancer.zygotes
        first, other = balancer.pids
        os.kill(first, signal.SIGKILL)
        await until(lambda: "was killed by SIGKILL" in caplog.text)
        await until(lambda: len(balancer.at_work) == 2 and first not in balancer.pids)
        assert {(await request(balancer.url)).status for _ in range(8)} == {200}
        await balancer.reload(backend.url, workers=1)
        await until(lambda: len(balancer.pids) == 1)
        assert other not in balancer.pids
        assert await balancer.end()
