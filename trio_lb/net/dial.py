"""Dialling: connecting to a server, or the reason why it failed."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import trio

from trio_lb.errors import ConnectFailed, NameUnresolved

from .host_limits import host_limit
from .transport import VANISHED_AFTER, SocketTransport, tune

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_lb.plan import Address

    from .deadlines import Deadlines
    from .resolver import Resolver, Target
    from .transport import Transport

#: Where connect(2) goes: the path of a unix socket, or what `socket` has for an IP address.
_Where: TypeAlias = str | tuple[Any, ...]

#: And its family.
_Place: TypeAlias = tuple[int, _Where]

#: Of an address of a name before the next one is tried as well; seconds (RFC 8305 section 8).
HEAD_START: Final = 0.25

_FULL_BACKLOG_PAUSE = 0.005

#: ENOENT: a unix socket that is not there.
_NOBODY_THERE = (errno.ECONNREFUSED, errno.ENOENT)


class Dial(Protocol):
    """How the rest of the program connects: `Dialler.dial`, or what stands in for it."""

    async def __call__(
        self, address: Address, seconds: float, under_way: Transport | None = None, /
    ) -> Transport:
        """See `Dialler.dial`."""


class Dialler:
    """Connects to servers, for one process.

    Args:
        resolver: of their names.
        deadlines: who looks after the waits of the connections.
        vanished_after: see `trio_lb.net.transport.tune`.
    """

    def __init__(
        self, resolver: Resolver, deadlines: Deadlines, vanished_after: float = VANISHED_AFTER
    ) -> None:
        self._resolver = resolver
        self._deadlines = deadlines
        self._vanished_after = vanished_after

    async def dial(
        self, address: Address, seconds: float, under_way: Transport | None = None
    ) -> SocketTransport:
        """Connect to a server.

        Args:
            address: where; the addresses of a name are tried in turn, each a moment after the one
                before it or when that has failed, and the first that answers is taken (RFC 8305
                section 5). If none does soon, the name is looked up again.
            seconds: how long all of it may take.
            under_way: to an address of a name: what `beginning` has begun, and the moment is over.
                It is `dial`'s to close.

        Raises:
            ConnectFailed: refused, unreachable or too slow; nothing is left open. The
                status is 504 where it took too long, 503 where we ran out of something, else 502.
            NameUnresolved: its name has no address.
        """
        targets: Sequence[Target] = ()
        failures: list[OSError] = []
        with self._deadlines.limit(seconds if under_way is None else seconds - HEAD_START):
            try:
                if (place := _place(address)) is not None:
                    return await self._connect(place)
                try:
                    targets = await self._resolver.resolve(address)
                except BaseException:
                    if under_way is not None:
                        under_way.close()
                    raise
                return await self._race(address, targets, under_way, failures)
            except OSError as exc:
                raise connect_failed(exc) from exc
        if address.named and not targets:
            raise NameUnresolved("connect: looking the name up takes too long", 504)
        if (ours := _of_ours(failures)) is not None:
            raise connect_failed(ours)
        raise connect_too_slow(seconds)

    def beginning(self, address: Address) -> Callable[[], tuple[SocketTransport, int] | None]:
        """How to begin to connect to a server, without a wait.

        Returns:
            A function that gives a transport, and the error number of connect(2): 0, EINPROGRESS,
            or what went wrong; None if the server has a name of which no address is known yet. It
            raises OSError where there can't be a socket.
        """
        place = _place(address)

        def begin() -> tuple[SocketTransport, int]:
            assert place is not None
            return self._begin(place)

        def begin_by_name() -> tuple[SocketTransport, int] | None:
            target = self._resolver.first(address.host)
            return None if target is None else self._begin(_place_of(target, address.port))

        return begin if place is not None else begin_by_name

    async def _race(
        self,
        address: Address,
        targets: Sequence[Target],
        under_way: Transport | None,
        failures: list[OSError],
    ) -> SocketTransport:
        """A connection to the first address of a name that can be had.

        `failures` gets what each failed for: while one was not asked because this host lacked
        something, nothing is known of the server.
        """
        won: list[SocketTransport] = []
        tried: set[str] = set()

        async def attempt(place: _Place, begun: Transport | None, ended: trio.Event) -> None:
            try:
                transport = await self._connect(place, begun)
            except OSError as exc:
                failures.append(exc)
                ended.set()
                return
            if won:  # at the same moment as another one
                transport.close()
                return
            won.append(transport)
            self._resolver.worked(address.host, transport.peer)
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                if under_way is not None:
                    tried.add(under_way.peer)
                    place = _ip_place(under_way.peer, address.port)
                    nursery.start_soon(attempt, place, under_way, trio.Event())
                while targets := await self._untried(address, targets, tried):
                    for target in targets:
                        tried.add(target.host)
                        ended = trio.Event()
                        place = _place_of(target, address.port)
                        nursery.start_soon(attempt, place, None, ended)
                        with trio.move_on_after(HEAD_START):
                            await ended.wait()
        except BaseException:
            for transport in won:
                transport.close()
            raise
        if won:
            return won[0]
        raise _of_ours(failures) or failures[0]

    async def _untried(
        self, address: Address, targets: Sequence[Target], tried: set[str]
    ) -> Sequence[Target]:
        """What is left to be tried of the addresses of a name; new ones if nothing is."""
        left = [target for target in targets if target.host not in tried]
        if left:
            return left
        renewed = await self._resolver.renewed(address)
        return [target for target in renewed if target.host not in tried]

    def _begin(self, place: _Place) -> tuple[SocketTransport, int]:
        family, where = place
        sock = _new_socket(family, self._vanished_after)
        transport = SocketTransport(sock, _host_of(place), self._deadlines)
        transport.born = trio.current_time()
        return transport, sock.connect_ex(where)

    async def _connect(self, place: _Place, under_way: Transport | None = None) -> SocketTransport:
        """A connection to one address: a new one, or the one that is under way there."""
        code = errno.EINPROGRESS
        if under_way is None:
            transport, code = self._begin(place)
        else:
            assert isinstance(under_way, SocketTransport)
            transport = under_way
        try:
            await _finish(transport.socket, place, code)
        except BaseException:
            trio.lowlevel.notify_closing(transport.socket)
            transport.close()
            raise
        transport.born = trio.current_time()
        return transport


def connect_failed(exc: OSError) -> ConnectFailed:
    """What an error of connect(2), or of making a socket for it, means for a request."""
    if (limit := host_limit(exc, "connect")) is not None:
        return limit
    return ConnectFailed(f"connect: {exc.strerror or exc}", refused=exc.errno in _NOBODY_THERE)


def connect_too_slow(seconds: float) -> ConnectFailed:
    """What it means that there was no connection after `seconds`."""
    return ConnectFailed(f"connect: no answer within {seconds:g} s", 504)


def _place(address: Address) -> _Place | None:
    """Family and address for connect(2); None for a name."""
    if address.unix is not None:
        return socket.AF_UNIX, address.unix
    return None if address.named else _ip_place(address.host, address.port)


def _ip_place(host: str, port: int) -> _Place:
    return socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port)


def _place_of(target: Target, port: int) -> _Place:
    return target.family, (target.host, port, *target.rest)


def _of_ours(failures: list[OSError]) -> OSError | None:
    """The first failure that is because this host lacks something."""
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


async def _finish(sock: socket.socket, place: _Place, code: int) -> None:
    """Wait until a socket is connected to `place`, if connect(2) has said `code`; or OSError."""
    family, where = place
    # A unix socket whose backlog is full says EAGAIN, and nothing tells when it has room.
    while code == errno.EAGAIN:
        await trio.sleep(_FULL_BACKLOG_PAUSE)
        code = sock.connect_ex(where)
    if code == errno.EINPROGRESS:
        await trio.lowlevel.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code == errno.EADDRNOTAVAIL and not _has_address_for(family, where):
        code = errno.ENETUNREACH
    if code:
        raise OSError(code, os.strerror(code))


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
