"""`trio-lb reload --wait` against a supervisor: what it prints, its exit code, and when."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import besides_checks
from tests.support.client import request
from tests.support.process import ROOT, run_process
from tests.support.supervised import run_supervisor, until
from trio_lb.supervise.runtime_dir import default_pid_file

if TYPE_CHECKING:
    from pathlib import Path

OK = besides_checks(scripts.answer())


async def command(directory: Path, *arguments: str) -> tuple[int, list[str]]:
    """Exit code and output of a command."""
    line = [sys.executable, "-m", "trio_lb", *arguments]
    async with run_process(line, cwd=directory, env={"PYTHONPATH": str(ROOT)}) as child:
        return await child.wait(within=60), child.lines


@pytest.mark.parametrize("settings", [{}, {"pid_file": "x.pid"}])
async def test_it_returns_when_the_new_profile_serves(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    async with (
        open_backend(besides_checks(scripts.answer(b"one"))) as one,
        open_backend(besides_checks(scripts.answer(b"two"))) as two,
        run_supervisor(tmp_path, one.url, **settings) as balancer,
    ):
        pid = balancer.child.pid
        balancer.write([two.url], **settings)
        told = f"trio-lb: process {pid} is serving the new profile"
        for _ in range(2):
            assert await command(tmp_path, "reload", "--wait") == (0, [told])
            assert "reloaded: 1 server," in balancer.child.output
        await until(lambda: len(balancer.pids) == 2)  # the old workers have ended
        assert {(await request(balancer.url)).body for _ in range(8)} == {b"two"}
        assert (await command(tmp_path, "stop"))[0] == 0
        assert await balancer.child.wait() == 0
    default = default_pid_file(str(tmp_path / "config.yaml"))
    assert default is not None
    for name in (default, f"{default}.status", tmp_path / "x.pid", tmp_path / "x.pid.status"):
        assert not (tmp_path / name).exists()


async def test_it_fails_with_the_reasons_when_the_profile_is_refused(tmp_path: Path) -> None:
    async with open_backend(OK) as backend, run_supervisor(tmp_path, backend.url) as balancer:
        pid, pids = balancer.child.pid, balancer.pids
        balancer.write([backend.url], listen="http://192.0.2.1:8000")
        status, lines = await command(tmp_path, "reload", "--wait")
        assert status == 1
        assert lines == [
            "cannot listen on http://192.0.2.1:8000: Cannot assign requested address",
            f"trio-lb: process {pid} refused the new profile: nothing was changed",
        ]
        assert balancer.pids == pids
        # What is wrong for the supervisor alone, whose environment is another.
        balancer.profile.write_text(
            f"servers: {backend.url}\nlisten: http://127.0.0.1:0\nretries: ${{TIMES}}\n"
        )
        line = [sys.executable, "-m", "trio_lb", "reload", "--wait"]
        env = {"PYTHONPATH": str(ROOT), "TIMES": "3"}
        async with run_process(line, cwd=tmp_path, env=env) as child:
            assert await child.wait() == 1
        assert child.lines[0].startswith(
            "config.yaml:3:10: retries: the environment variable TIMES is not set"
        )
        assert child.lines[1:] == [
            f"trio-lb: process {pid} refused the new profile: nothing was changed"
        ]
        assert balancer.pids == pids


async def test_it_does_not_wait_for_one_that_ends(tmp_path: Path) -> None:
    async with open_backend(OK) as backend, run_supervisor(tmp_path, backend.url) as balancer:
        balancer.child.signal(signal.SIGSTOP)
        line = [sys.executable, "-m", "trio_lb", "reload", "--wait", "--timeout", "200ms"]
        async with run_process(line, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as child:
            assert await child.wait() == 1
        pid = balancer.child.pid
        assert child.lines == [
            f"trio-lb: process {pid} has not completed the reload within 0.2 s: see its log"
        ]
        async with run_process(line[:-2], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as child:
            balancer.child.signal(signal.SIGKILL)
            assert await child.wait() == 1
            assert child.lines[0] in {
                f"trio-lb: process {pid} ended before the reload was complete",
                "trio-lb: no load balancer is running with the profile config.yaml",
            }


async def test_a_second_one_with_the_same_profile_runs_and_says_what_it_lacks(
    tmp_path: Path,
) -> None:
    async with open_backend(OK) as backend, run_supervisor(tmp_path, backend.url) as first:
        line = [sys.executable, "-m", "trio_lb", "start", "-w", "1"]
        async with run_process(line, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as second:
            await second.wait_line(
                f"as process {first.child.pid}: "
                "`trio-lb reload` and `stop` will not find this process"
            )
            found = await second.wait_line(r"listening on (\S+):", within=20)
            assert (await request(found[1])).status == 200
            assert (await command(tmp_path, "reload", "--wait"))[0] == 0
        assert "reloaded" in first.child.output
