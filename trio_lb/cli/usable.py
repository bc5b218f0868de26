"""Whether this machine has what a profile names: its users, and files that can be written.

Reported with line and column, like all errors of a profile, and before anything listens.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from trio_lb.config import Profile
    from trio_lb.supervise.privileges import User

_WRITING: Final = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY


def for_check(profile: Profile) -> Iterator[tuple[str, str]]:
    """What is wrong wherever the profile is used; who checks it may be another than who runs it."""
    user, problem = _user_of(profile)
    if problem is not None:
        yield "user", problem
    yield from _access_log(profile, user)
    if profile.pid_file is not None and (reason := _no_place(profile.pid_file)):
        yield "pid_file", _unwritable(reason, profile.shown("pid_file"))


def for_start(profile: Profile) -> Iterator[tuple[str, str]]:
    """What is wrong for this process, which has not given up any rights yet."""
    user, problem = _user_of(profile)
    if problem is None and user is not None and os.geteuid() not in (0, user.uid):
        problem = f"only root can become {profile.shown('user')}: start trio-lb as root, or without"
    if problem is not None:
        yield "user", problem
    yield from _access_log(profile, user)
    if profile.pid_file is not None and (reason := why_not_written(profile.pid_file)):
        yield "pid_file", _unwritable(reason, profile.shown("pid_file"))


def for_reload(profile: Profile) -> Iterable[tuple[str, str]]:
    """What is wrong for a process that runs: the user and the pid file stay as they are."""
    return _access_log(profile, None)


def why_not_saved(path: str, profile: Profile) -> str | None:
    """Why reports can't be saved to a file by who runs this profile; None if they can."""
    user, _ = _user_of(profile)
    with _acting_as(user):
        return why_not_written(path)


def why_not_written(path: str) -> str | None:
    """Why this process can't append to a file, new or not; None if it can. Nothing is created.

    A full disk is no reason: it may have room when there is something to write.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISSOCK(mode):
            return "it is a socket"
        if stat.S_ISBLK(mode):
            return "it is a block device"
        _try_to_write(path, mode)
    except FileNotFoundError:
        directory = os.path.dirname(os.path.realpath(path))
        if not os.access(directory, os.W_OK | os.X_OK, effective_ids=_EFFECTIVE):
            return _no_place(path) or "permission denied"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _try_to_write(path: str, mode: int) -> None:
    """Open a file that is there, and write nothing to it; raises OSError."""
    try:
        descriptor = os.open(path, _WRITING)
    except OSError as error:
        if error.errno == errno.ENXIO and stat.S_ISFIFO(mode):  # nobody reads it yet
            return
        raise
    try:
        if stat.S_ISCHR(mode):
            os.write(descriptor, b"")  # a device that takes nothing, as /dev/full, refuses that too
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)


_EFFECTIVE: Final = os.access in os.supports_effective_ids


def _no_place(path: str) -> str | None:
    """Why a file can't be there, whoever writes it."""
    if os.path.isdir(path):
        return os.strerror(errno.EISDIR).lower()
    if not os.path.isdir(os.path.dirname(os.path.realpath(path))):
        return "no such directory"
    return None


def _access_log(profile: Profile, user: User | None) -> Iterator[tuple[str, str]]:
    path = profile.access_log
    if path is None or path == "-":
        return
    with _acting_as(user):
        reason = why_not_written(path)
    if reason is not None:
        yield "access_log", _unwritable(reason, profile.shown("access_log"))


def _unwritable(reason: str, shown: str) -> str:
    return f'expected a writable file ({reason}), got "{shown}"'


def _user_of(profile: Profile) -> tuple[User | None, str | None]:
    """The user of a profile, or what is wrong with it."""
    from trio_lb.supervise.privileges import PrivilegeError, find_user

    if profile.user is None:
        return None, None
    try:
        return find_user(profile.user), None
    except PrivilegeError:
        known = "NAME or NAME:GROUP that this machine knows"
        return None, f'expected a {known}, got "{profile.shown("user")}"'


@contextmanager
def _acting_as(user: User | None) -> Iterator[None]:
    """Be another user for a moment, if root is who we are: for what is asked before rights drop."""
    if user is None or os.geteuid() != 0:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    undo: list[Callable[[], None]] = []
    try:
        os.setgroups(os.getgrouplist(user.name, user.gid))
        undo.append(lambda: os.setgroups(groups))
        os.setegid(user.gid)
        undo.append(lambda: os.setegid(group))
        os.seteuid(user.uid)
        undo.append(lambda: os.seteuid(0))
        yield
    finally:
        for step in reversed(undo):
            step()
