"""What memory looks like between any two instructions of an action (Linux on x86-64)."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.forks import bare_fork

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterator

TRACE_ME, SINGLE_STEP = 0, 9
MOST = 1_000_000  # instructions

# Elsewhere stepping ends the exclusive access that an atomic instruction needs, or there is none.
can_step = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="needs ptrace on x86-64"
)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long] * 4


def ptrace(request: int, pid: int) -> None:
    """One request to the kernel."""
    if _libc.ptrace(request, pid, 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")


def contents_during(action: Callable[[], object], memory: mmap.mmap) -> Iterator[bytes]:
    """Run `action` in a fork, instruction by instruction; what `memory` held, each time that it
    had changed. It may be changed by the caller as well, between two of them."""
    pid = bare_fork()
    if pid == 0:
        try:
            sys.settrace(None)
            ptrace(TRACE_ME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            action()
        finally:
            os._exit(0)
    try:
        status = os.waitpid(pid, 0)[1]
        if not os.WIFSTOPPED(status):
            pytest.skip("ptrace is not permitted here")
        last = memory[:]
        for _ in range(MOST):
            ptrace(SINGLE_STEP, pid)
            status = os.waitpid(pid, 0)[1]
            if not os.WIFSTOPPED(status):
                break
            content = memory[:]
            if content != last:
                yield content
                last = memory[:]
    finally:
        if os.WIFSTOPPED(status):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert os.WIFEXITED(status), "the action takes too many instructions"
