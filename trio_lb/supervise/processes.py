"""Starting worker processes: forked from a zygote where possible, else each as an interpreter.

Each generation has its own zygote (`supervise/zygote.py`): after a reload, new workers run the code
that is on disk at that time.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import signal
import socket
import subprocess
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import trio

from . import interpreter
from .zygote import ANSWER

if TYPE_CHECKING:
    from .orphans import OrphanReaper

log = logging.getLogger("trio_lb.supervisor")

#: Seconds that a zygote may take until it is ready, as a worker may.
READY = 30.0

#: Seconds that it may take to fork a worker, once it is ready.
ANSWERS = 5.0

_PR_SET_CHILD_SUBREAPER: Final = 36


class Process(Protocol):
    """A worker's process.

    Attributes:
        pid: its process ID, which is not reused before `wait` has returned.
    """

    @property
    def pid(self) -> int: ...

    def kill(self) -> None:
        """End it at once; nothing happens if it has ended."""

    async def wait(self) -> int:
        """Wait until it has ended; its exit code, or the number of a signal below 0."""


class Starter(Protocol):
    """Starts the workers of a generation."""

    async def start(self, control: socket.socket) -> Process:
        """Start one; `control` is its end of the socket to its monitor.

        Raises:
            OSError: it can't be started, or `close` was called.
        """

    async def close(self) -> None:
        """Start no more, and clean up; workers go on."""


def starter(reaper: OrphanReaper) -> Starter:
    """A zygote if this system allows it."""
    return Zygote(reaper) if can_fork() else Interpreters(reaper)


@functools.cache
def can_fork() -> bool:
    """Whether workers can be forked from a zygote; if so, this process adopts orphans now."""
    try:
        os.close(os.pidfd_open(os.getpid()))
        libc = ctypes.CDLL(None, use_errno=True)  # Trio has loaded ctypes anyway
        if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except (AttributeError, OSError) as exc:  # not Linux, an old one, or one that forbids it
        reason = getattr(exc, "strerror", None) or "another system than Linux"
        log.debug("no zygote (%s): each worker imports its modules itself", reason)
        return False
    return True


async def _run_module(reaper: OrphanReaper, module: str, sock: socket.socket) -> trio.Process:
    """Run a module with a socket, in its own session: a terminal's signals are not for it."""
    descriptor = sock.fileno()
    with reaper.starting():
        process = await trio.lowlevel.open_process(
            interpreter.command(module, str(descriptor)),
            env=interpreter.environment(),
            stdin=subprocess.DEVNULL,
            pass_fds=[descriptor],
            start_new_session=True,
        )
        reaper.own.add(process.pid)
    return process


class Interpreters:
    """Starts each worker with an interpreter of its own, which imports everything."""

    def __init__(self, reaper: OrphanReaper) -> None:
        self._reaper = reaper

    async def start(self, control: socket.socket) -> Process:
        return await _run_module(self._reaper, "trio_lb.supervise.worker", control)

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()


class Forked:
    """A process that a zygote has forked, and that this process has adopted."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None
        try:
            self._descriptor = os.pidfd_open(pid)
        except OSError:  # out of descriptors: there is no way to wait for it
            self.kill()
            os.waitpid(pid, 0)
            raise

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        if self._code is None:
            await trio.lowlevel.wait_readable(self._descriptor)
            _, status = os.waitpid(self.pid, 0)  # noqa: ASYNC222 -- it has ended
            self._code = os.waitstatus_to_exitcode(status)
            os.close(self._descriptor)
        return self._code


class Zygote:
    """Has workers forked by a zygote, which is started when the first one is needed."""

    def __init__(self, reaper: OrphanReaper) -> None:
        self._reaper = reaper
        self._closed = False
        self._one_at_a_time = trio.Lock()
        self._process: trio.Process | None = None
        self._is_ready = False
        self._socket: trio.socket.SocketType

    async def start(self, control: socket.socket) -> Process:
        async with self._one_at_a_time:
            if self._process is not None and self._process.poll() is not None:
                log.warning("the zygote (pid %d) %s", self._process.pid, await self._bury())
            if self._process is None:
                await self._prepare()
            with self._reaper.starting():
                process = Forked(await self._fork(control))
                self._reaper.own.add(process.pid)
            return process

    async def close(self) -> None:
        self._closed = True
        if self._process is not None and not self._is_ready:
            self._process.kill()  # ends the wait for it
        with trio.CancelScope(shield=True):
            async with self._one_at_a_time:  # a fork under way is finished first
                if self._process is not None:
                    await self._bury()

    async def _prepare(self) -> None:
        """Start the zygote, and wait until it is ready."""
        if self._closed:
            await trio.lowlevel.checkpoint_if_cancelled()  # which is the reason, then
            raise OSError("no more workers are started")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._socket = trio.socket.from_stdlib_socket(ours)
        try:
            with theirs:
                process = await _run_module(self._reaper, "trio_lb.supervise.zygote", theirs)
        except BaseException:
            self._socket.close()
            raise
        self._process = process
        try:
            await self._answer(READY)
        except BaseException:
            if self._process is not None:
                await self._bury()
            raise
        self._is_ready = True

    async def _fork(self, control: socket.socket) -> int:
        """Have a worker forked; its pid."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [control.fileno()]))
        with trio.CancelScope(shield=True):  # else nobody would know the worker
            await self._socket.sendmsg([b"\0"], [rights])
            pid = await self._answer(ANSWERS)
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return pid

    async def _answer(self, seconds: float) -> int:
        """Wait for an answer of the zygote; without one, it is killed.

        Raises:
            OSError: there was no answer.
        """
        data = b""
        with trio.move_on_after(seconds) as waiting, suppress(OSError):
            data = await self._socket.recv(ANSWER.size)
        if data:
            (answer,) = ANSWER.unpack(data)
            return int(answer)
        how = await self._bury()
        if waiting.cancelled_caught:
            how = f"did not respond for {seconds:g} s"
        raise OSError(f"its zygote {how}")

    async def _bury(self) -> str:
        """Kill the zygote and wait for it; how it ended."""
        assert self._process is not None
        process, self._process = self._process, None
        self._is_ready = False
        self._socket.close()
        with trio.CancelScope(shield=True):
            process.kill()
            code = await process.wait()
        self._reaper.own.discard(process.pid)
        return how_ended(code)


def how_ended(code: int) -> str:
    """How a process ended, by its exit code, for logs."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
