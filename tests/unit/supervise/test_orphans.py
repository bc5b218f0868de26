"""Reaping orphans: in a process that gets them as process 1 does, beside Trio's own processes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]

#: Makes the process adopt orphans, as process 1 does (prctl(2)).
HEAD: Final = """\
import ctypes, os, signal, subprocess, sys, time
import trio
from trio_lb.supervise.orphans import OrphanReaper

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
reaper = OrphanReaper()

def make_orphan():
    '''A process that ends at once, after its parent, which is our child, has ended.'''
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        orphan = os.fork()
        if orphan == 0:
            os.close(writer)
            os.read(reader, 1)  # until our process says so
            os._exit(5)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(reader)
    (orphan,) = children()
    os.close(writer)
    wait_ended(orphan)
    return orphan

def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return sorted(set(map(int, file.read().split())) - reaper.own - known)

def wait_ended(pid):
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    known.add(pid)

known = set()
"""

pytestmark = pytest.mark.skipif(
    not os.path.exists(f"/proc/self/task/{os.getpid()}/children"), reason="Linux's /proc only"
)


def _run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_orphans_are_reaped() -> None:
    said = _run("""
        print(reaper.reap())
        orphans = [make_orphan() for _ in range(3)]
        print(sorted(reaper.reap()) == sorted(orphans), reaper.reap())
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            print("no child is left")
        """)
    assert said == ["[]", "True []", "no child is left"]


def test_those_that_run_are_left_alone() -> None:
    said = _run("""
        process = subprocess.Popen(["sleep", "60"])
        print(reaper.reap())
        process.kill()
        print(process.wait())
        """)
    assert said == ["[]", "-9"]


def test_our_own_processes_keep_their_status() -> None:
    said = _run("""
        with reaper.starting():
            process = subprocess.Popen(["sh", "-c", "exit 7"])
            wait_ended(process.pid)
            print("while starting:", reaper.reap())
            reaper.own.add(process.pid)
        orphan = make_orphan()
        # Ours is in front: the orphan's turn is when the other's status has been taken.
        print("in front:", reaper.reap())
        print("status:", process.wait())
        reaper.own.discard(process.pid)
        print("then:", reaper.reap() == [orphan])
        """)
    assert said == ["while starting: []", "in front: []", "status: 7", "then: True"]


def test_trios_processes_and_orphans_at_once() -> None:
    said = _run("""
        statuses, reaped = [], []

        async def keep(status):
            with reaper.starting():
                process = await trio.lowlevel.open_process(["sh", "-c", f"exit {status}"])
                reaper.own.add(process.pid)
            statuses.append(await process.wait() == status)
            reaper.own.discard(process.pid)

        async def reap_forever():
            while True:
                reaped.extend(reaper.reap())
                await trio.sleep(0.001)

        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reap_forever)
                async with trio.open_nursery() as work:
                    for status in range(1, 21):
                        work.start_soon(keep, status)
                    for _ in range(10):
                        # `sh` ends before what it has started, whose parent we are then.
                        subprocess.run(["sh", "-c", "sleep 0.01 & exit 0"])
                        await trio.sleep(0.005)
                while len(reaped) < 10:
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()

        trio.run(main)
        print(len(statuses), all(statuses), len(reaped))
        """)
    assert said == ["20 True 10"]
