"""Appending whole lines to files that fill up, get rotated, or vanish."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
from typing import TYPE_CHECKING

from trio_lb.errors import TrioLBError

if TYPE_CHECKING:
    import logging


class AppendFailed(TrioLBError):  # noqa: N818
    """Lines could not be written.

    Attributes:
        lost_lines: how many of them.
    """

    def __init__(self, reason: str, lost_lines: int) -> None:
        super().__init__(reason)
        self.lost_lines = lost_lines


def write_some(descriptor: int, data: memoryview | bytes) -> int:
    """`os.write` that waits for a descriptor that somebody else has made non-blocking."""
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            writable = select.poll()
            writable.register(descriptor, select.POLLOUT)
            writable.poll()


def _whole_lines(lines: memoryview) -> memoryview:
    """The first lines that a pipe takes in one piece; a part of one that is too long for that."""
    first = lines[: select.PIPE_BUF]
    return first[: bytes(first).rfind(b"\n") + 1] or first


class LogFile:
    """A file that lines are appended to; "-" is standard output.

    Blocking: for worker threads, one at a time. The file is opened when it is needed, created when
    it is missing, and opened anew when its path names another file than before (rotation). Several
    processes may append to the same one, and lines stay whole (in a pipe, those of up to 4096
    bytes). Writes go straight to the descriptor: a Python buffer's lock, held by a thread that is
    stuck in a write, would break the interpreter's exit.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._torn = False  # the last write ended within a line
        self._is_file = True  # and not a pipe, a terminal or the like

    def append(self, lines: bytes) -> None:
        """Append lines, each ended by a newline; none is fine too and opens the file.

        Raises:
            AppendFailed: some of them were not written; the next call opens the file anew.
        """
        rest = memoryview(lines)
        try:
            descriptor = self._opened()
            if self._torn and rest:
                rest = memoryview(b"\n" + lines)
            while rest:
                piece = rest if self._is_file else _whole_lines(rest)
                written = write_some(descriptor, piece)
                self._torn = rest[written - 1] != ord("\n")
                rest = rest[written:]
        except (OSError, ValueError) as error:  # ValueError: the path, or a closed sys.stdout
            self.close()
            reason = error.strerror if isinstance(error, OSError) else None
            lost = min(bytes(rest).count(b"\n"), lines.count(b"\n"))
            raise AppendFailed(reason or str(error), lost) from error

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with contextlib.suppress(OSError):  # a network file system reports a full disk here
                os.close(descriptor)

    def _opened(self) -> int:
        if self._descriptor is not None and not self._is_current(self._descriptor):
            self.close()
        if self._descriptor is None:
            self._descriptor = self._open()
            status = os.fstat(self._descriptor)
            self._is_file = stat.S_ISREG(status.st_mode)
            if status.st_size == 0:
                self._torn = False  # another file than before
        return self._descriptor

    def _is_current(self, descriptor: int) -> bool:
        if self._path == "-":
            return True
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        if self._path != "-":
            return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        if sys.__stdout__ is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return os.dup(sys.__stdout__.fileno())


class Condition:
    """Says in the log when writing somewhere begins to fail and when it works again, once each."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._failing = False

    def failed(self, reason: object) -> None:
        """Writing failed: a warning, unless it failed before."""
        if not self._failing:
            self._failing = True
            self._logger.warning("cannot write the %s: %s", self._what, reason)

    def worked(self) -> None:
        """Writing worked: an information, if it failed before."""
        if self._failing:
            self._failing = False
            self._logger.info("can write the %s again", self._what)
