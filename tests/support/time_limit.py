"""No test may hang: after a while all that is known of it is told, and its process ends.

Beside others (`pytest -n`) that is one failed test, and those behind it go on in a new process.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import FrameType

#: Seconds, many times what the longest test takes, as a machine may be busy with much else.
LIMIT: Final = 300.0

#: Seconds that Python may take to come to it, unless compiled code runs for ever.
_GRACE: Final = 10.0

_told_to = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real standard error, which is captured during a test."""
    config.stash[_told_to] = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Give a test so long."""
    with limited(item.nodeid, item.config.stash[_told_to], LIMIT):
        return (yield)


@contextlib.contextmanager
def limited(name: str, told_to: int, seconds: float) -> Iterator[None]:
    """End this process, and those that it has started, if the block takes longer than that.

    Args:
        name: of the test.
        told_to: descriptor that gets the stacks of all threads and all of Trio's tasks.
        seconds: in real time.
    """

    def give_up(*_: object) -> None:
        os.write(told_to, f"\n{name} is not over after {seconds:g} s\n".encode())
        faulthandler.dump_traceback(told_to)
        os.write(told_to, "\n".join([*_tasks(), *_processes(), ""]).encode())
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(1)

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds + _GRACE, file=told_to, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _tasks() -> Iterator[str]:
    """Trio's tasks, each below the one in whose nursery it is, with where it waits."""
    try:
        root = trio.lowlevel.current_root_task()
    except RuntimeError:  # it runs in none
        return
    if root is not None:
        yield from _tree(root, "")


def _tree(task: trio.lowlevel.Task, indent: str) -> Iterator[str]:
    yield f"{indent}{task.name}"
    yield from (f"{indent}  {_place(frame, line)}" for frame, line in task.iter_await_frames())
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _tree(child, indent + "    ")


def _place(frame: FrameType, line: int) -> str:
    return f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}"


def _processes() -> Iterator[str]:
    for pid in _descendants(os.getpid()):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
            yield f"process {pid}: {command.decode(errors='replace')}"


def _descendants(pid: int) -> Iterator[int]:
    """Processes that one has started, and theirs, as far as their parents live (Linux)."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                yield from _descendants(child)
                yield child
