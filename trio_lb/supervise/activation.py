"""Socket activation: listening sockets that the service manager has opened (sd_listen_fds(3))."""

from __future__ import annotations

import os
import re
import socket
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from trio_lb.errors import ListenError
from trio_lb.plan import Address

if TYPE_CHECKING:
    from collections.abc import MutableMapping

#: The first descriptor that is handed over; the others follow it.
_FIRST: Final = 3
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


def passed_sockets(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Take over the sockets that were passed to this process; they go in place of `listen`.

    They are non-blocking and not inherited from now on. The variables are taken out of the
    environment, so that no child takes them for its own. A unix socket's path is the service
    manager's: it is not to be removed at the end.

    Returns:
        The sockets in their order; none if there is no socket activation.

    Raises:
        ListenError: what was passed is not what a load balancer can accept clients from.
    """
    pid, count, names = (environ.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()):
        return []
    if not re.fullmatch("[0-9]{1,4}", count):
        raise ListenError(f"LISTEN_FDS: expected a number of sockets, got {count!r}")
    name_of = dict(enumerate(names.split(":"), _FIRST))
    with ExitStack() as stack:  # closes those before one that is wrong
        sockets = [
            stack.enter_context(_taken_over(descriptor, name_of.get(descriptor, "")))
            for descriptor in range(_FIRST, _FIRST + int(count))
        ]
        stack.pop_all()
    return sockets


def address_of(sock: socket.socket) -> Address:
    """Where a listening socket listens, as a profile writes it; `@` begins an abstract name."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        path = os.fsdecode(name)
        return Address(unix="@" + path[1:] if path.startswith("\0") else path)
    return Address(host=name[0], port=name[1])


def _taken_over(descriptor: int, name: str) -> socket.socket:
    called = f"descriptor {descriptor}" + (f" ({name})" if name else "")
    try:
        # Looked at before it is a socket object, which would close what is not ours to close.
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise ListenError(f"{called} was passed to listen on and is not a socket")
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ListenError(f"{called} was passed to listen on: {error.strerror}") from error
    if (
        sock.family not in _FAMILIES
        or sock.type != socket.SOCK_STREAM
        or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        sock.close()
        raise ListenError(
            f"{called} was passed to listen on and is not a listening stream socket "
            "(ListenStream= of TCP or a unix socket, with Accept=no)"
        )
    sock.setblocking(False)
    return sock
