"""The paths of unix sockets: permissions, and stale ones left by a dead process."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from trio_lb.accounts import group_id, group_of_user, user_id

if TYPE_CHECKING:
    from trio_lb.plan import ListenerPlan

#: Who may connect, unless the profile says otherwise: the owner and the group.
UNIX_MODE: Final = 0o660


class Owner(NamedTuple):
    """Whose the sockets are that a profile says nothing about; -1 leaves it as it is."""

    uid: int = -1
    gid: int = -1


OURS: Final = Owner()
"""Those of the process."""


class Rights(NamedTuple):
    """Whose a socket is, and who may connect.

    Attributes:
        uid, gid: owner and group; -1 leaves it as it is.
        mode: permissions, of which those to write count.
    """

    uid: int
    gid: int
    mode: int

    def give(self, path: str) -> None:
        """Give a path these, as far as it does not have them.

        Raises:
            OSError: only root may give it to others.
        """
        status = os.stat(path, follow_symlinks=False)
        if (self.uid, self.gid) not in {
            (uid, gid) for uid in (-1, status.st_uid) for gid in (-1, status.st_gid)
        }:
            try:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)
            except OSError as error:
                raise OSError(f"its owner or group can't be set: {error.strerror}") from error
        if stat.S_IMODE(status.st_mode) != self.mode:
            os.chmod(path, self.mode)


def rights_of(listen: ListenerPlan, owner: Owner) -> Rights:
    """What a profile says about a socket; looks names up, which may block.

    Raises:
        OSError: a user or group is not known any more.
    """
    uid, gid = owner
    try:
        if listen.owner is not None:
            uid = user_id(listen.owner)
            gid = -1 if (own := group_of_user(uid)) is None else own
        if listen.group is not None:
            gid = group_id(listen.group)
    except ValueError as error:
        raise OSError(str(error)) from None
    return Rights(uid, gid, UNIX_MODE if listen.mode is None else listen.mode)


def remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more; anything else is left alone."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)
