"""Dialling: a connected transport to a server, or the reason why not."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import trio

from trio_lb.errors import ConnectFailed, NameUnresolved

from .host_limits import host_limit
from .resolver import resolver
from .transport import VANISHED_AFTER, SocketTransport, tune

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_lb.plan import Address

    from .deadlines import Deadlines
    from .transport import Transport

#: Where connect(2) goes: the path of a unix socket, or what `socket` has for an IP address.
_Where: TypeAlias = str | tuple[Any, ...]

#: And its family.
_Place: TypeAlias = tuple[int, _Where]

#: Of an address of a name before the next one is tried as well; seconds (RFC 8305 section 8).
_HEAD_START = 0.25

_FULL_BACKLOG_PAUSE = 0.005

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
        address: where; the addresses of a name (`trio_lb.net.resolver`) are tried in turn, each
            a moment after the one before it (RFC 8305 section 5).
        seconds: how long all of it may take.
        deadlines: who looks after the waits of the connection.
        vanished_after: see `tune`.

    Raises:
        ConnectFailed: refused, unreachable or too slow; nothing is left open. The
            status is 504 where it took too long, 503 where we ran out of something, else 502.
        NameUnresolved: its name has no address.
    """
    places: Sequence[_Place] = ()
    failures: list[OSError] = []
    with deadlines.limit(seconds):
        try:
            places = await _places_of(address)
            sock, peer = await _connect(places, vanished_after, failures)
        except OSError as exc:
            raise connect_failed(exc) from exc
        transport = SocketTransport(sock, peer, deadlines)
        transport.born = trio.current_time()
        return transport
    if not places:
        raise NameUnresolved("connect: looking the name up takes too long", 504)
    if (ours := _of_ours(failures)) is not None:
        raise connect_failed(ours)
    raise connect_too_slow(seconds)


def connect_failed(exc: OSError) -> ConnectFailed:
    """What an error of connect(2), or of making a socket for it, means for a request."""
    if (limit := host_limit(exc, "connect")) is not None:
        return limit
    return ConnectFailed(f"connect: {exc.strerror or exc}", refused=exc.errno in _NOBODY_THERE)


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
        transport = SocketTransport(sock, peer, deadlines)
        transport.born = trio.current_time()
        return transport, sock.connect_ex(target)

    return begin


def _place(address: Address) -> _Place | None:
    """Family and address for connect(2); None for a name."""
    if address.unix is not None:
        return socket.AF_UNIX, address.unix
    if address.named:
        return None
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return family, (address.host, address.port)


async def _places_of(address: Address) -> Sequence[_Place]:
    place = _place(address)
    if place is not None:
        return [place]
    targets = await resolver().resolve(address.host, str(address))
    return [(family, (host, address.port, *rest)) for family, host, rest in targets]


async def _connect(
    places: Sequence[_Place], vanished_after: float, failures: list[OSError]
) -> tuple[socket.socket, str]:
    """A connection to the first of some places that can be had, and the address of that.

    Of several, `failures` gets what each failed for: while one was not asked for want of something
    of ours, nothing is known of the server.
    """
    if len(places) == 1:
        [place] = places
        return await _connect_one(*place, vanished_after), _host_of(place)
    won: list[tuple[socket.socket, str]] = []

    async def attempt(place: _Place, ended: trio.Event) -> None:
        try:
            sock = await _connect_one(*place, vanished_after)
        except OSError as exc:
            failures.append(exc)
            ended.set()
            return
        if won:  # at the same moment as another one
            sock.close()
            return
        won.append((sock, _host_of(place)))
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for place in places:
                ended = trio.Event()
                nursery.start_soon(attempt, place, ended)
                with trio.move_on_after(_HEAD_START):
                    await ended.wait()
    except BaseException:
        for sock, _ in won:
            sock.close()
        raise
    if won:
        return won[0]
    raise _of_ours(failures) or failures[0]


def _of_ours(failures: list[OSError]) -> OSError | None:
    """The first that is for want of something that this host lacks."""
    return next((exc for exc in failures if host_limit(exc, "") is not None), None)


def _host_of(place: _Place) -> str:
    where = place[1]
    return "unix:" if isinstance(where, str) else str(where[0])


def _new_socket(family: int, vanished_after: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0))
    try:
        sock.setblocking(False)
        tune(sock, vanished_after)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_one(family: int, target: _Where, vanished_after: float) -> socket.socket:
    sock = _new_socket(family, vanished_after)
    try:
        # A unix socket whose backlog is full says EAGAIN, and nothing tells when it has room.
        while (code := sock.connect_ex(target)) == errno.EAGAIN:  # noqa: ASYNC110
            await trio.sleep(_FULL_BACKLOG_PAUSE)
        if code == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == errno.EADDRNOTAVAIL and not _has_address_for(family, target):
            code = errno.ENETUNREACH
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        trio.lowlevel.notify_closing(sock)
        sock.close()
        raise
    return sock


def _has_address_for(family: int, target: _Where) -> bool:
    """Whether we have an address to reach another one from; without, there are no ports either.

    IPv6 that is switched off gives the same error as ports that are used up. UDP has ports of its
    own, and connecting it sends nothing.
    """
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(target)
    except OSError as exc:
        return exc.errno != errno.EADDRNOTAVAIL
    return True
