"""Dialling: a connected transport to a server, or the reason why not."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from typing import TYPE_CHECKING, Protocol

import trio

from trio_lb.errors import (
    ConnectFailed,
    HostLimit,
    OutOfBuffers,
    OutOfDescriptors,
    OutOfMemory,
    OutOfPorts,
    OutOfWatches,
)

from .transport import VANISHED_AFTER, SocketTransport, tune

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.profile import Address

    from .deadlines import Deadlines
    from .transport import Transport

_FULL_BACKLOG_PAUSE = 0.005

#: What this host lacks, by the error that says so.
_LIMITS: dict[int | None, type[HostLimit]] = {
    errno.EMFILE: OutOfDescriptors,
    errno.ENFILE: OutOfDescriptors,
    errno.EADDRNOTAVAIL: OutOfPorts,
    errno.ENOMEM: OutOfMemory,
    errno.ENOBUFS: OutOfBuffers,
    errno.ENOSPC: OutOfWatches,
}

#: ENOENT: a unix socket that is not there.
_NOBODY_THERE = (errno.ECONNREFUSED, errno.ENOENT)


class Dial(Protocol):
    """How the rest of the program connects: `dial`, or a test's way of standing in for it."""

    async def __call__(self, address: Address, seconds: float) -> Transport:
        """See `dial`."""


async def dial(
    address: Address,
    seconds: float,
    deadlines: Deadlines,
    vanished_after: float = VANISHED_AFTER,
) -> SocketTransport:
    """Connect to a server.

    Args:
        address: where; a name is resolved anew (in a thread), and its addresses are raced as
            RFC 8305 has it.
        seconds: how long all of it may take.
        deadlines: who looks after the waits of the connection.
        vanished_after: see `tune`.

    Raises:
        ConnectFailed: refused, unreachable, unresolvable or too slow; nothing is left open. The
            status is 504 where it took too long, 503 where we ran out of something, else 502.
    """
    with deadlines.limit(seconds):
        try:
            sock = await _connect(address, vanished_after)
        except OSError as exc:
            raise connect_failed(exc) from exc
        return SocketTransport(sock, address.host or "unix:", deadlines)
    raise connect_too_slow(seconds)


def connect_failed(exc: OSError) -> ConnectFailed:
    """What an error of connect(2), or of making a socket for it, means for a request."""
    reason = f"connect: {exc.strerror or exc}"
    if (limit := _LIMITS.get(exc.errno)) is not None:
        return limit(reason)
    return ConnectFailed(reason, refused=exc.errno in _NOBODY_THERE)


def connect_too_slow(seconds: float) -> ConnectFailed:
    """What it means that there was no connection after `seconds`."""
    return ConnectFailed(f"connect: no answer within {seconds:g} s", 504)


def dial_at_once(
    address: Address, deadlines: Deadlines, vanished_after: float = VANISHED_AFTER
) -> Callable[[], tuple[SocketTransport, int]] | None:
    """How to begin to connect to a server without a wait; None if its name must be resolved.

    Args:
        address, deadlines, vanished_after: as for `dial`.

    Returns:
        A function that gives a transport, and the error number of connect(2): 0, EINPROGRESS, or
        what went wrong. It raises OSError where there can't be a socket.
    """
    where = _place(address)
    if where is None:
        return None
    family, target = where
    peer = address.host or "unix:"

    def begin() -> tuple[SocketTransport, int]:
        sock = _new_socket(family, vanished_after)
        return SocketTransport(sock, peer, deadlines), sock.connect_ex(target)

    return begin


def _place(address: Address) -> tuple[int, str | tuple[str, int]] | None:
    """Family and address for connect(2); None for a name."""
    if address.unix is not None:
        return socket.AF_UNIX, address.unix
    try:
        literal = ipaddress.ip_address(address.host)
    except ValueError:
        return None
    family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
    return family, (address.host, address.port)


async def _connect(address: Address, vanished_after: float) -> socket.socket:
    where = _place(address)
    if where is None:
        return await _connect_name(address.host, address.port, vanished_after)
    return await _connect_one(*where, vanished_after)


def _new_socket(family: int, vanished_after: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0))
    try:
        sock.setblocking(False)
        tune(sock, vanished_after)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_one(
    family: int, target: str | tuple[str, int], vanished_after: float
) -> socket.socket:
    sock = _new_socket(family, vanished_after)
    try:
        # A unix socket whose backlog is full says EAGAIN, and nothing tells when it has room.
        while (code := sock.connect_ex(target)) == errno.EAGAIN:  # noqa: ASYNC110
            await trio.sleep(_FULL_BACKLOG_PAUSE)
        if code == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        trio.lowlevel.notify_closing(sock)
        sock.close()
        raise
    return sock


async def _connect_name(host: str, port: int, vanished_after: float) -> socket.socket:
    try:
        stream = await trio.open_tcp_stream(host, port)
    except socket.gaierror as exc:
        raise OSError(exc.errno, "the name does not resolve") from exc
    except OSError as exc:
        raise _first_reason(exc) from exc
    sock = socket.socket(fileno=stream.socket.detach())
    sock.setblocking(False)
    tune(sock, vanished_after)
    return sock


def _first_reason(exc: OSError) -> OSError:
    """Of what was said of a name's several addresses, what was said of the first."""
    cause = exc.__cause__
    while isinstance(cause, ExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError) and cause.errno is not None:
        return OSError(cause.errno, os.strerror(cause.errno))
    return exc
