"""Connections in memory: transports with bounded buffers, and servers that they lead to.

They behave like TCP on the loopback interface in all that a proxy can notice: back-pressure, half
closing, resets (also the one that closing with unread bytes causes), and the first send after the
peer has closed, which seems to succeed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from tests.support.backend import Backend, Script
from trio_lb.errors import ConnectFailed
from trio_lb.net.deadlines import NEVER, Deadlines
from trio_lb.net.transport import Buffer, End, PeerState, TimedOut, TransportBroken, receive, send

if TYPE_CHECKING:
    from trio_lb.config import Address
    from trio_lb.net.transport import Transport

CAPACITY = 64 * 1024


class _Pipe:
    """Bytes on their way in one direction."""

    def __init__(self, capacity: int, low_water: int) -> None:
        self.capacity = capacity
        self.low_water = low_water  # room that there must be before a writer is told of it
        self.data = bytearray()
        self.ended = False  # the writer sends no more
        self.abandoned = False  # the reader is gone
        self.broken = False  # reset
        self.readers = trio.lowlevel.ParkingLot()
        self.writers = trio.lowlevel.ParkingLot()

    def changed(self) -> None:
        """Have everybody look again."""
        self.readers.unpark_all()
        self.writers.unpark_all()


class MemoryTransport:
    """One end of a connection in memory; see `memory_pair`."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, peer: str, deadlines: Deadlines) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._deadlines = deadlines
        self.peer = peer
        self.born = NEVER
        self.closed = False
        self.read_by = self.write_by = NEVER

    @property
    def unsent(self) -> int:
        """Bytes that were sent here and that the peer has not received yet."""
        return len(self._outgoing.data)

    def ends(self) -> tuple[End, End]:
        if self.peer == "unix:":
            return None, None
        return (self.peer, 50000), ("127.0.0.1", 8000)

    def receive_nowait(self, size: int) -> bytes | None:
        self._check_open()
        incoming = self._incoming
        if incoming.data:
            data = bytes(incoming.data[:size])
            del incoming.data[:size]
            incoming.writers.unpark_all()
            return data
        if incoming.broken:
            raise TransportBroken("reset by peer")
        return b"" if incoming.ended else None

    def send_nowait(self, data: Buffer) -> int:
        self._check_open()
        outgoing = self._outgoing
        if outgoing.broken or outgoing.ended:
            raise TransportBroken("broken pipe")
        if outgoing.abandoned:
            self._break()  # as the RST that comes back does, after this send has succeeded
            return len(data)
        count = min(len(data), outgoing.capacity - len(outgoing.data))
        outgoing.data += data[:count]
        outgoing.readers.unpark_all()
        return count

    async def wait_readable(self, deadline: float) -> None:
        self._check_open()
        incoming = self._incoming
        self.read_by = deadline
        self._deadlines.add(self)
        try:
            await trio.lowlevel.checkpoint()
            while not (incoming.data or incoming.ended or incoming.broken):
                await incoming.readers.park()
                if not incoming.data:
                    self._woken(self.read_by)
        finally:
            self.read_by = NEVER
            self._deadlines.discard(self)

    async def wait_writable(self, deadline: float) -> None:
        self._check_open()
        outgoing = self._outgoing
        self.write_by = deadline
        self._deadlines.add(self)
        try:
            await trio.lowlevel.checkpoint()
            while outgoing.capacity - len(outgoing.data) < outgoing.low_water:
                if outgoing.broken or outgoing.abandoned:
                    return
                await outgoing.writers.park()
                self._woken(self.write_by)
        finally:
            self.write_by = NEVER
            self._deadlines.discard(self)

    def _woken(self, deadline: float) -> None:
        self._check_open()
        if deadline <= self._deadlines.judged:
            raise TimedOut

    def _check_open(self) -> None:
        if self.closed:
            raise TransportBroken("closed")

    def wake(self) -> None:
        self._incoming.readers.unpark_all()
        self._outgoing.writers.unpark_all()

    def peek(self) -> bytes | None:
        incoming = self._incoming
        if incoming.data and not self.closed:
            return bytes(incoming.data[:1])
        return b"" if self.closed or incoming.ended or incoming.broken else None

    def peer_state(self) -> PeerState:
        if self.closed or self._incoming.broken:
            return PeerState.BROKEN
        return PeerState.ENDED if self._incoming.ended else PeerState.THERE

    def send_eof(self) -> None:
        self._outgoing.ended = True
        self._outgoing.changed()

    def close(self) -> None:
        if self.closed:
            return
        if self._incoming.data:
            self._break()
        self._incoming.abandoned = self._outgoing.ended = True
        self._gone()

    def reset(self) -> None:
        if self.closed:
            return
        self._break()
        self._gone()

    def _break(self) -> None:
        for pipe in (self._incoming, self._outgoing):
            pipe.broken = True
            pipe.changed()

    def _gone(self) -> None:
        self.closed = True
        self._incoming.changed()
        self._outgoing.changed()


def memory_pair(
    ours: Deadlines, theirs: Deadlines, capacity: int = CAPACITY, low_water: int = 1
) -> tuple[MemoryTransport, MemoryTransport]:
    """Connects two ends.

    Args:
        ours, theirs: who looks after the waits of the first and of the second end.
        capacity: bytes that each direction holds.
        low_water: bytes of room that there must be before a waiting sender is told of it.
    """
    there, back = _Pipe(capacity, low_water), _Pipe(capacity, low_water)
    return (
        MemoryTransport(back, there, "192.0.2.1", ours),
        MemoryTransport(there, back, "192.0.2.2", theirs),
    )


class MemoryStream:
    """An end of a connection as clients and servers of the tests use it: like a SocketStream."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport
        self.socket = _Socket(transport)

    async def send_all(self, data: Buffer) -> None:
        try:
            await send(self.transport, data, math.inf)
        except TransportBroken as error:
            raise self._error(error) from error
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            data = await receive(self.transport, NEVER, max_bytes or CAPACITY)
        except TransportBroken as error:
            raise self._error(error) from error
        await trio.lowlevel.checkpoint()
        return data

    def _error(self, error: TransportBroken) -> Exception:
        if self.transport.closed:
            return trio.ClosedResourceError(str(error))
        return trio.BrokenResourceError(str(error))

    async def send_eof(self) -> None:
        self.transport.send_eof()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.socket.close()
        await trio.lowlevel.checkpoint()


class _Socket:
    """What the tests do with a stream's socket: close it at once, with a RST or not."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self._resets = False

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """Only for SO_LINGER of 0."""
        self._resets = True

    def close(self) -> None:
        if self._resets:
            self._transport.reset()
        else:
            self._transport.close()


class MemoryBackend(Backend):
    """A scripted server that is reached by `MemoryNetwork.dial`."""

    _serving: trio.Nursery | None = None

    async def start(self) -> None:
        self._stopped = trio.Event()
        await self._nursery.start(self._run_in_memory)

    async def _run_in_memory(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            with trio.CancelScope() as self._running:
                async with trio.open_nursery() as self._serving:
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self._serving = self._running = None
            self._stopped.set()

    def accept(self, transport: MemoryTransport) -> bool:
        """Takes a connection; False when stopped."""
        if self._serving is None:
            return False
        self._serving.start_soon(self._serve, MemoryStream(transport))
        return True


class MemoryNetwork:
    """Where addresses lead to servers in memory.

    Args:
        capacity: bytes that each direction of a connection holds.

    Attributes:
        deadlines: those of the ends that are not a server's.
        ours: these ends.
        black_holes: ports to which connecting never ends.
        dialled: ports in the order in which they were dialled.
        low_water: of connections made from now on; see `memory_pair`.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.deadlines = Deadlines()
        self.ours: list[MemoryTransport] = []
        self.black_holes: set[int] = set()
        self.dialled: list[int] = []
        self.to_servers: list[MemoryTransport] = []
        self.low_water = 1
        self._capacity = capacity
        self._backends: dict[int, MemoryBackend] = {}
        self._peers = Deadlines()

    async def add_backend(self, nursery: trio.Nursery, script: Script) -> MemoryBackend:
        """Starts a server at the next port."""
        backend = MemoryBackend(nursery, script, "127.0.0.1", None, math.inf)
        backend.port = 3001 + len(self._backends)
        self._backends[backend.port] = backend
        await backend.start()
        return backend

    def pair(self, peer: str = "192.0.2.1") -> tuple[MemoryTransport, MemoryTransport]:
        """A connection: the load balancer's end, where `peer` is the other's address; the other."""
        ours, theirs = memory_pair(self.deadlines, self._peers, self._capacity, self.low_water)
        ours.peer = peer
        self.ours.append(ours)
        return ours, theirs

    @property
    def open(self) -> int:
        """How many of our ends are open."""
        return sum(not each.closed for each in self.ours)

    async def dial(
        self, address: Address, seconds: float, under_way: Transport | None = None
    ) -> MemoryTransport:
        """See `trio_lb.net.dial.Dialler`."""
        assert under_way is None
        self.dialled.append(address.port)
        if address.port in self.black_holes:
            await trio.sleep(seconds)
            raise ConnectFailed(f"connect: no answer within {seconds:g} s", 504)
        await trio.lowlevel.checkpoint()
        ours, theirs = self.pair()
        if not self._backends[address.port].accept(theirs):
            ours.close()
            raise ConnectFailed("connect: refused", refused=True)
        self.to_servers.append(ours)
        return ours
