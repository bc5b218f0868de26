"""Sockets bound to the addresses to listen on; nobody can connect to them yet."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from trio_lb.errors import ListenError

from .unix_paths import remove_stale

if TYPE_CHECKING:
    from trio_lb.plan import Address

    from .unix_paths import Rights


def cannot_listen(address: Address, exc: OSError) -> ListenError:
    """The error that says which address can't be bound, and why."""
    reason = os.strerror(exc.errno) if exc.errno else str(exc)
    return ListenError(f"cannot listen on {address}: {reason}")


def bind_all(
    port: int, found: list[tuple[int, object]], reuse_port: bool
) -> list[tuple[socket.socket, int]]:
    """Bind a socket for each address that a name stands for (`localhost` is often two), or none.

    Args:
        port: 0 lets the system choose one, the same for all of them.
        found: the addresses, with their families.
        reuse_port: more sockets for the same addresses will follow.

    Returns:
        The sockets, with their port.

    Raises:
        OSError: one of them can't be bound.
    """
    bound: list[tuple[socket.socket, int]] = []
    missing: OSError | None = None
    try:
        for family, where in dict.fromkeys(found):
            assert isinstance(where, tuple)
            try:
                if reuse_port and port:
                    # Sockets that share a port don't see when another program has it: ask first.
                    bind(family, (where[0], port, *where[2:]), False).close()
                sock = bind(family, (where[0], port, *where[2:]), reuse_port)
            except OSError as exc:
                if not _is_ipv6_missing(exc, family, where[0]):
                    raise
                missing = exc
                continue
            port = sock.getsockname()[1]
            bound.append((sock, port))
        if missing is not None and not bound:
            raise missing
    except BaseException:
        for sock, _ in bound:
            sock.close()
        raise
    return bound


def _is_ipv6_missing(exc: OSError, family: int, host: object) -> bool:
    """Whether this system has no IPv6, or it is switched off: IPv4 alone will do where both go."""
    return (
        family == socket.AF_INET6
        and host in {"::", "::1"}
        and exc.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
    )


def bind(family: int, where: tuple[object, ...], reuse_port: bool) -> socket.socket:
    """Bind one TCP socket.

    Raises:
        OSError: it can't be bound.
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # Otherwise [::] would take IPv4's port as well, depending on the system.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_unix(path: str, rights: Rights) -> socket.socket:
    """Bind a unix socket; one that nobody listens on any more is replaced.

    Raises:
        OSError: it can't be bound.
    """
    remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
        try:
            rights.give(path)
        except BaseException:
            os.unlink(path)
            raise
    except BaseException:
        sock.close()
        raise
    return sock
