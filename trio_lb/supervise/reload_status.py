"""What has become of a reload: told to whoever waits for it, in a file beside the pid file.

HUP has no answer, and several of them may be one reload. So the supervisor counts: who has read
how many reloads have begun, and signals then, is answered when one more than that has ended.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import msgspec

from trio_lb.errors import TrioLBError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

log = logging.getLogger("trio_lb.supervisor")

#: Of the reasons for which a profile was refused: so many, and so many characters of each.
_PROBLEMS: Final = 50
_LONGEST: Final = 500

_MAX_BYTES: Final = 256 * 1024


class StatusError(TrioLBError):
    """The status of reloads can't be read."""


class Status(msgspec.Struct, frozen=True):
    """How many reloads there were, and the result of the last one.

    Attributes:
        pid: of the supervisor.
        begun: how many have begun since its start.
        ended: how many of these have ended, whether applied or refused.
        problems: why the last one that ended was refused; empty if it was applied.
    """

    pid: int
    begun: int = 0
    ended: int = 0
    problems: tuple[str, ...] = ()


class ReloadStatus:
    """The supervisor's side; tells nobody while it is not in `shown_beside`."""

    def __init__(self) -> None:
        self._status = Status(os.getpid())
        self._descriptor: int | None = None

    def begin(self) -> None:
        """A reload begins: the profile is read after this."""
        self._tell(begun=self._status.begun + 1)

    def end(self, problems: Sequence[str]) -> None:
        """The reload has ended; with problems, nothing was changed."""
        shown = tuple(each[:_LONGEST] for each in problems[:_PROBLEMS])
        self._tell(ended=self._status.begun, problems=shown)

    @contextmanager
    def shown_beside(self, pid_file: str, owner: int | None = None) -> Iterator[None]:
        """Tell in a file beside a pid file of ours, for as long as the block lasts.

        To be entered before privileges are dropped, as the pid file; it stays open after that.

        Args:
            pid_file: its name; its lock is held.
            owner: the user who may read the file, besides root; the process's own if None.
        """
        path = status_file(pid_file)
        try:
            self._descriptor = _create(path, owner)
        except OSError as error:
            log.warning(
                "`trio-lb reload --wait` will not work: cannot write next to the pid file: %s",
                error.strerror,
            )
            yield
            return
        self._tell()
        try:
            yield
        finally:
            descriptor, self._descriptor = self._descriptor, None
            try:
                os.unlink(path)
            except OSError:  # the right to was dropped; the pid file says so
                with suppress(OSError):
                    os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def _tell(self, **changes: object) -> None:
        self._status = msgspec.structs.replace(self._status, **changes)
        if self._descriptor is None:
            return
        body = msgspec.json.encode(self._status)
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        try:
            os.pwrite(self._descriptor, line, 0)
            os.ftruncate(self._descriptor, len(line))
        except OSError as error:  # a full disk
            log.warning("cannot write the status of reloads: %s", error.strerror)


def status_file(pid_file: str) -> str:
    """The file that belongs to a pid file."""
    return f"{os.path.abspath(pid_file)}.status"


def read_status(pid_file: str) -> Status | None:
    """How the reloads went of whoever runs with a pid file.

    Returns:
        None if it is being written just now.

    Raises:
        StatusError: there is no such file, or it can't be read.
    """
    path = status_file(pid_file)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StatusError("the file next to the pid file has no status of reloads")
            data = os.pread(descriptor, _MAX_BYTES, 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StatusError(f"cannot read the status of reloads: {error.strerror}") from error
    checksum, _, body = data.partition(b"\n")[0].partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        return msgspec.json.decode(body, type=Status)
    except msgspec.MsgspecError:
        return None


def _create(path: str, owner: int | None) -> int:
    """A new file in the place of any other, which nobody but its owner may read."""
    descriptor, temporary = tempfile.mkstemp(prefix=".status-", dir=os.path.dirname(path))
    try:
        if owner is not None and owner != os.geteuid():
            os.fchown(descriptor, owner, -1)
        os.rename(temporary, path)
    except BaseException:
        os.close(descriptor)
        with suppress(OSError):
            os.unlink(temporary)
        raise
    return descriptor
