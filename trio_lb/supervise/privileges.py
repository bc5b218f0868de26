"""Dropping privileges: root opens what only root may, then another user goes on.

Before it: binding the listening sockets and writing the pid file. What is opened later is opened as
the user: the access log and saved reports (they are opened anew after rotation), the profile at a
reload, ports below 1024 that only a new profile has. Workers are started after it, so the user must
be able to read the Python installation.
"""

from __future__ import annotations

import grp
import os
import pwd
from contextlib import suppress
from dataclasses import dataclass

from trio_lb.errors import TrioLBError


class PrivilegeError(TrioLBError):
    """The user to go on as is unknown, or it is not allowed to become that user."""


@dataclass(frozen=True)
class User:
    """A user to go on as.

    Attributes:
        name: as the system knows it.
        uid: its number.
        gid: the number of the group; the user's own unless another was asked for.
        groups: all groups of the user, that one included.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def find_user(text: str) -> User:
    """Look a user up, `NAME` or `NAME:GROUP`.

    Blocks for as long as the system's databases take, which may be in the network.

    Raises:
        PrivilegeError: there is no such user or group, or they can't be looked up.
    """
    name, _, group = text.partition(":")
    try:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise PrivilegeError(f"user: there is no user {name!r} on this machine") from None
        gid = grp.getgrnam(group).gr_gid if group else entry.pw_gid
        return User(name, entry.pw_uid, gid, tuple(os.getgrouplist(name, gid)))
    except KeyError:
        raise PrivilegeError(f"user: there is no group {group!r} on this machine") from None
    except OSError as error:
        raise PrivilegeError(f"user: cannot look up {text}: {error.strerror}") from None


def drop_privileges(user: User) -> None:
    """Become this user, for good; nothing happens if the process is this user already.

    Raises:
        PrivilegeError: it is not allowed, not possible here, or root could be regained.
    """
    if (os.getuid(), os.geteuid()) == (user.uid,) * 2 and os.getegid() == user.gid:
        return
    try:
        # In this order: a user that isn't root may not change groups.
        os.setgroups(user.groups)
        os.setgid(user.gid)
        os.setuid(user.uid)
    except PermissionError:
        raise PrivilegeError(
            f"user: only root can become {user.name}: start trio-lb as root, or without user"
        ) from None
    except OSError as error:  # in a container, a number that it has no place for, say
        raise PrivilegeError(f"user: cannot become {user.name}: {error.strerror}") from None
    if _can_regain_root():
        raise PrivilegeError(f"user: root privileges could be regained after becoming {user.name}")


def _can_regain_root() -> bool:
    for change in (os.setuid, os.seteuid):
        with suppress(PermissionError):
            change(0)
            return True
    return False
