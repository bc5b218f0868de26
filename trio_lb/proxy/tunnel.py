"""A tunnel: after 101 (Switching Protocols), two connections are a stream of bytes each way.

The protocol inside is unknown here, so trio-lb never adds bytes to it: a tunnel that is broken off
ends with a reset, which can't be taken for a regular end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import trio

from trio_lb.errors import End, HostLimit
from trio_lb.http.forwarding import switching_lines
from trio_lb.net.deadlines import NEVER, loop_clock
from trio_lb.net.transport import RECEIVE_SIZE, ByteStream, TimedOut, TransportBroken, YieldBudget

from .duplex import duplex

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_lb.http.heads import ResponseHead
    from trio_lb.plan import TunnelTimeouts
    from trio_lb.pool import Reservation
    from trio_lb.upstream.stream import UpstreamStream

    from .exchange import Exchange


#: What passes the bytes: `relay`, or the fast path's.
Relay: TypeAlias = "Callable[[Direction, Direction, TunnelTimeouts], Awaitable[tuple[End, str]]]"


async def switch(
    exchange: Exchange,
    upstream: UpstreamStream,
    reservation: Reservation,
    head: ResponseHead,
    timeouts: TunnelTimeouts,
    relay: Relay,
) -> None:
    """Pass a 101 on, and then bytes, until both sides have ended or one has broken the tunnel off.

    How a tunnel ends is noted in the record, and is nobody's failure.

    Args:
        exchange: the request that made the offer.
        upstream: the stream on which a server took it up.
        reservation: that server's; given back when the server's side has ended.
        head: the 101, of which is known that it takes up what was offered.
        timeouts: how long it may be silent.
        relay: what passes the bytes.

    Raises:
        ClientGone: the client left before it had the 101.
    """
    stream, record = exchange.stream, exchange.record
    await stream.send_informational(head.status, head.reason, switching_lines(head))
    record.answered(reservation.server.name, head.status)
    ours, from_client = stream.upgrade()
    theirs, from_server = upstream.upgrade()
    client, server = Side("client", ours), Side("server", theirs)
    up = Direction(client, server, from_client)
    down = Direction(server, client, from_server, reservation.give_back)
    try:
        record.ended, record.reason = await relay(up, down, timeouts)
    finally:
        if record.ended is not End.OK:
            ours.reset()
            theirs.reset()
        exchange.bytes_tunnelled = up.moved
        record.bytes_sent = down.moved


class Side(NamedTuple):
    """One end of a tunnel: what it is called, and its bytes."""

    name: str
    transport: ByteStream


class Direction:
    """One direction of a tunnel.

    Args:
        source, target: its ends.
        early: what has already come from the source.
        source_ended: called when the source has ended.

    Attributes:
        moved: bytes that have gone through.
        ended: the source has ended, and the target was told.
    """

    __slots__ = ("early", "ended", "moved", "source", "source_ended", "target")

    def __init__(
        self,
        source: Side,
        target: Side,
        early: bytes = b"",
        source_ended: Callable[[], None] | None = None,
    ) -> None:
        self.source = source
        self.target = target
        self.early = early
        self.source_ended = source_ended
        self.moved = 0
        self.ended = trio.Event()


class _Broken(Exception):  # noqa: N818
    """The tunnel has to be cut; says why."""

    def __init__(self, end: End, reason: str) -> None:
        super().__init__(reason)
        self.end = end


#: How a tunnel ends in which nothing moves.
IDLE = (End.TUNNEL_IDLE, "the tunnel was idle for too long")


def broken_off(name: str) -> tuple[End, str]:
    """How a tunnel ends of which the `client` or the `server` has broken its side off."""
    end = End.CLIENT_GONE if name == "client" else End.SERVER_CUT
    return end, f"the {name} broke the tunnel off"


class _Refused(_Broken):
    """The target of a direction takes no more."""


async def relay(up: Direction, down: Direction, timeouts: TunnelTimeouts) -> tuple[End, str]:
    """Relay both directions, at the pace of who takes the bytes, with at most one buffer for each.

    An end (EOF) is passed on, and the other direction goes on without it. The connections are left
    open; unless both directions have ended, they have to be reset.

    Args:
        up, down: the directions, which have the same two ends.
        timeouts: how long it may be without a byte in either direction until it is cut, and how
            long when one of them has ended.

    Returns:
        How it ended, as a word and as a sentence; `ok` when both directions have.
    """
    relaying = _Relay(timeouts)

    async def both() -> None:
        await relaying.pump(down, up)
        await up.ended.wait()

    try:
        await duplex(both, lambda: relaying.pump(up, down))
    except _Broken as exc:
        return exc.end, str(exc)
    return End.OK, "ok"


class _Relay:
    """What the two directions share: when something last moved in either."""

    __slots__ = ("_clock", "_half_closed", "_idle", "_moved")

    def __init__(self, timeouts: TunnelTimeouts) -> None:
        self._idle = timeouts.idle
        self._half_closed = timeouts.half_closed
        self._clock = loop_clock()
        self._moved = self._clock.lived()

    async def pump(self, way: Direction, back: Direction) -> None:
        """Pass everything on, and at last the end."""
        try:
            await self._pass_on(way)
        except _Refused:
            # Who has ended may close as well: what is sent to it then has no reader, and nothing
            # that it sent is lost.
            if not back.ended.is_set():
                raise
        way.target.transport.send_eof()
        way.ended.set()
        self._hurry(back)

    def _hurry(self, way: Direction) -> None:
        """The other direction has ended: there is less patience with this one."""
        self._idle = min(self._idle, self._half_closed)
        by = self._clock.at(self._moved + self._idle)
        for transport in (way.source.transport, way.target.transport):
            # Of waits under way; it is NEVER where there is none.
            if transport.read_by < NEVER:
                transport.read_by = min(transport.read_by, by)
            if transport.write_by < NEVER:
                transport.write_by = min(transport.write_by, by)

    async def _pass_on(self, way: Direction) -> None:
        turns = YieldBudget()
        if way.early:
            await self._send(way, way.early)
            way.early = b""
        while data := await self._receive(way):
            await self._send(way, data)
            del data  # a tunnel that waits for bytes holds none
            await turns.step()
        if way.source_ended is not None:
            way.source_ended()

    async def _receive(self, way: Direction) -> bytes:
        name, transport = way.source
        try:
            while (data := transport.receive_nowait(RECEIVE_SIZE)) is None:
                await self._wait(transport.wait_readable)
        except TransportBroken:
            raise _Broken(*broken_off(name)) from None
        self._moved = self._clock.lived()
        return data

    async def _send(self, way: Direction, data: bytes) -> None:
        name, transport = way.target
        rest = memoryview(data)
        try:
            while rest:
                if sent := transport.send_nowait(rest):
                    way.moved += sent
                    self._moved = self._clock.lived()
                    rest = rest[sent:]
                else:
                    await self._wait(transport.wait_writable)
        except TransportBroken:
            raise _Refused(*broken_off(name)) from None

    async def _wait(self, wait: Callable[[float], Awaitable[None]]) -> None:
        """Wait for a connection, for as long as something moves in either direction."""
        try:
            await wait(self._clock.at(self._moved + self._idle))
        except TimedOut:
            pass
        except HostLimit as exc:
            raise _Broken(End.FAILED, exc.reason) from None
        else:
            return
        if self._moved + self._idle <= self._clock.lived():
            raise _Broken(*IDLE)
