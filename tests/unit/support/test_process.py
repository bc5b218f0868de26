"""Processes are run, watched and ended."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.client import request
from tests.support.process import needs, process_usage, run_nginx, run_process

if TYPE_CHECKING:
    from pathlib import Path

STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("child", child.pid, flush=True)
signal.pause()
"""


async def test_output_status_and_environment(tmp_path: Path) -> None:
    code = (
        "import os, sys; print(os.getcwd()); print(os.environ['X'], file=sys.stderr); sys.exit(3)"
    )
    async with run_process([sys.executable, "-c", code], cwd=tmp_path, env={"X": "y"}) as child:
        assert await child.wait() == 3
    assert (child.stdout, child.stderr) == ([str(tmp_path)], ["y"])


async def test_lines_are_waited_for_one_after_the_other() -> None:
    code = "print('n=1'); print('n=2', end='', flush=True)"
    async with run_process([sys.executable, "-c", code]) as child:
        assert (await child.wait_line(r"n=(\d)"))[1] == "1"
        assert (await child.wait_line(r"n=(\d)"))[1] == "2"
        with pytest.raises(AssertionError, match="ended without"):
            await child.wait_line("n=")


async def test_waiting_is_bounded() -> None:
    async with run_process([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        with pytest.raises(AssertionError, match="no 'never' within"):
            await child.wait_line("never", within=0.01)
        with pytest.raises(AssertionError, match="still running"):
            await child.wait(within=0.01)
        child.signal(signal.SIGTERM)
        assert await child.wait() != 0


async def test_a_stubborn_process_and_its_children_end_when_the_test_fails() -> None:
    pids: list[int] = []

    async def failing_test() -> None:
        async with run_process([sys.executable, "-c", STUBBORN], grace=0.05) as child:
            pids.append(int((await child.wait_line(r"child (\d+)"))[1]))
            pids.append(child.pid)
            raise ValueError

    with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
        await failing_test()
    for _ in range(500):  # the kernel takes a moment to end what was killed
        if not any(_runs(pid) for pid in pids):
            return
        await trio.sleep(0.01)
    pytest.fail(f"one of {pids} still runs")


@needs("nginx")
async def test_nginx(tmp_path: Path) -> None:
    async with run_nginx(tmp_path, "location / { return 200 'hello'; }") as url:
        assert (await request(url)).body == b"hello"


def test_a_missing_program_skips_with_a_reason() -> None:
    assert needs("sh").args == (False,)
    mark = needs("sh", "no-such-program")
    assert (mark.args, mark.kwargs) == ((True,), {"reason": "not installed: no-such-program"})


def test_usage() -> None:
    before = process_usage()
    with socket.socket():
        assert process_usage().descriptors == before.descriptors + 1
    assert before.threads >= 1
    assert before.rss_bytes > 1 << 20
    assert process_usage(os.getppid()).rss_bytes > 0


def _runs(pid: int) -> bool:
    """True if there is such a process, other than one that nobody has reaped yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
