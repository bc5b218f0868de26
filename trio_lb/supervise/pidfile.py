"""The pid file: by it a load balancer is found from outside, and a second one kept away.

A process that runs holds a record lock (fcntl(2)) on its pid file. The kernel ends the lock with
the process, however that comes about, and names its holder to whoever asks. So a file that was left
behind is known for what it is, and a number in it that belongs to another process by now, or comes
from another container, is never believed. (flock(2) is the simpler lock, but names nobody.)
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import stat
import struct
import sys
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from trio_lb.errors import TrioLBError

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator

log = logging.getLogger("trio_lb.pidfile")

#: `struct flock` of C: type, whence, start, length, pid; the BSDs and macOS order it otherwise.
_LINUX: Final = sys.platform == "linux"
_FLOCK: Final = struct.Struct("@hhqqi0q" if _LINUX else "@qqihh0q")

_CONTENT: Final = re.compile(rb"\s*([0-9]{0,10})\s*")


class PidFileError(TrioLBError):
    """A pid file can't be written or read, or is in use."""


@contextmanager
def hold_pid_file(path: str, *, shown: str | None = None, may_stay: bool = False) -> Iterator[None]:
    """Have a pid file for as long as the block lasts, and its lock for as long as the process does.

    To be entered before privileges are dropped (/run is root's), and after the handlers of signals
    are there, since whoever finds the file may send one. Where it can't be removed at the end,
    because dropping privileges took the right to, it is left empty, with a warning; the next start
    takes it over. Nothing else in the process may open the file: closing it would end the lock.

    Args:
        path: its name.
        shown: what people are told of the name, where that is not for all to see.
        may_stay: that it can't be removed at the end is nothing to warn of.

    Raises:
        PidFileError: a load balancer with this pid file is running, or it can't be written.
    """
    path = os.path.abspath(path)
    shown = shown or path
    try:
        descriptor = _write(path, shown)
    except OSError as error:
        raise PidFileError(f"cannot write the pid file {shown}: {error.strerror}") from error
    try:
        yield
    finally:
        try:
            if _is_at(descriptor, path):
                os.unlink(path)
        except OSError as error:
            level = logging.DEBUG if may_stay else logging.WARNING
            log.log(level, "cannot remove the pid file %s: %s; it is empty", shown, error.strerror)
            os.ftruncate(descriptor, 0)
        # Not closed: so those who wait for the lock wait for the end of the process.


class Running:
    """A load balancer that runs in another process.

    Attributes:
        pid: its process.
    """

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self._descriptor = descriptor

    def has_ended(self) -> bool:
        """Whether the process is gone; its pid file may have gone before."""
        return _holder(self._descriptor) != self.pid

    def signal(self, number: signal.Signals) -> bool:
        """Send it a signal.

        Returns:
            False if it has ended.

        Raises:
            PermissionError: it belongs to another user.
        """
        if self.has_ended():
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


@contextmanager
def find_running(path: str, shown: str | None = None) -> Iterator[Running | None]:
    """Look for the load balancer that runs with this pid file; None if there is none.

    Args:
        path: its name.
        shown: what people are told of the name, where that is not for all to see.

    Raises:
        PidFileError: the file can't be read, or its process is in another container.
    """
    shown = shown or path
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise PidFileError(f"cannot read the pid file {shown}: {error.strerror}") from error
    try:
        pid = _holder(descriptor)
        if pid is not None and pid <= 0:
            raise PidFileError(f"the pid file {shown} belongs to a process in another container")
        # One that is still starting has the lock, but not yet its number in the file.
        yield None if pid is None or pid != _content(descriptor) else Running(pid, descriptor)
    finally:
        os.close(descriptor)


def running(path: str) -> int | None:
    """The process that runs with this pid file; see `find_running`."""
    with find_running(path) as found:
        return None if found is None else found.pid


def _write(path: str, shown: str) -> int:
    """Put a pid file in place, whole and with its lock, and return its descriptor."""
    gate = _lock(path, shown)
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".pid-", dir=os.path.dirname(path))
        os.write(descriptor, f"{os.getpid()}\n".encode())
        os.fchmod(descriptor, 0o644)
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(temporary, path)
    except BaseException:
        for name in filter(None, (temporary, path)):
            with suppress(OSError):
                os.unlink(name)
        raise
    finally:
        os.close(gate)
    return descriptor


def _lock(path: str, shown: str) -> int:
    """Take the lock of the file that is there, new or left behind: only its holder replaces it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                raise PidFileError(
                    f"a load balancer with the pid file {shown} is running already, "
                    f"as process {_holder(descriptor) or '(unknown)'}"
                ) from None
            if _is_at(descriptor, path):
                regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
                if not regular or _content(descriptor) is None:
                    raise PidFileError(f"{shown} exists and is not a pid file")
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # replaced meanwhile


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _content(descriptor: int) -> int | None:
    """The number in a pid file, 0 if it is empty, None if it is no pid file."""
    found = _CONTENT.fullmatch(os.pread(descriptor, 64, 0))
    return None if found is None else int(found[1] or 0)


def _holder(descriptor: int) -> int | None:
    """Who has the lock; 0 or less if that can't be told here."""
    start, length, asker = 0, 0, 0
    if _LINUX:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, asker)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    else:
        asked = _FLOCK.pack(start, length, asker, fcntl.F_WRLCK, os.SEEK_SET)
        _, _, pid, kind, _ = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(pid)
