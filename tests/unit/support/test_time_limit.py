"""A test that hangs is told about, with where its tasks wait, and leaves no process behind."""

from __future__ import annotations

import re
import sys

import pytest
import trio

from tests.support.process import ROOT
from tests.support.supervised import is_gone, until

HANGING = """
import subprocess, sys, trio
from tests.support.time_limit import limited

async def wait_for_nothing():
    await trio.sleep_forever()

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_nothing)
        print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)
        {how}

with limited("test_x", 2, 1.0):
    trio.run(main)
"""


@pytest.mark.parametrize("how", ["sys.stdout.flush()", "while True: sys.stdout.flush()"])
async def test_what_hangs_is_told_and_ended(how: str) -> None:
    done = await trio.run_process(
        [sys.executable, "-c", HANGING.format(how=how)],
        cwd=ROOT,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    told = done.stderr.decode()
    assert done.returncode == 1
    assert "test_x is not over after 1 s" in told
    assert re.search(r"main\n.*wait_for_nothing\n.*:\d+ wait_for_nothing\n", told, re.DOTALL)
    pid = int(done.stdout)
    assert f"process {pid}: {sys.executable} -c" in told
    await until(lambda: is_gone(pid))
