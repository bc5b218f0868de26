"""A TCP proxy between the balancer and a server, on which the network's faults can be switched.

    async with open_fault_proxy(backend.url) as proxy:
        proxy.to_client.cut_after = 100       # bytes of each connection, then RST
        proxy.to_server.stall()               # forward nothing, close nothing
        proxy.heal()

Faults hold for open and new connections alike, from the next piece of data on.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from tests.support.net import dial, free_port, http_url, listen_tcp, reset_on_close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PIECE = 65536


class Direction:
    """One direction of all connections, and what is wrong with it.

    Attributes:
        delay: seconds that each piece of data is held back.
        rate: bytes per second of each connection.
        cut_after: how many bytes a connection passes before it is cut on both sides.
        cut_with_reset: cut with a RST; otherwise with a FIN.
        drops: read everything, forward nothing.
        passed: bytes forwarded, all connections together.
    """

    def __init__(self) -> None:
        self.passed = 0
        self._open = trio.Event()
        self.heal()

    def heal(self) -> None:
        """Ends all faults; what is held back by `stall` goes on. What was dropped stays lost."""
        self.delay = 0.0
        self.rate = math.inf
        self.cut_after: int | None = None
        self.cut_with_reset = True
        self.drops = False
        self._open.set()

    def stall(self) -> None:
        """Forwards nothing from now on, not even the end; the senders feel back-pressure."""
        if self._open.is_set():
            self._open = trio.Event()

    async def pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, cut: Callable[[bool], None]
    ) -> None:
        """Forwards until `source` ends; calls `cut(with_reset)` when the connection breaks."""
        count = 0
        while True:
            data = await _receive(source)
            await self._open.wait()
            if self.drops:
                if not data:
                    await trio.sleep_forever()
                continue
            if data is None:
                cut(True)
                return
            if not data:
                await sink.send_eof()
                return
            allowed = math.inf if self.cut_after is None else max(0, self.cut_after - count)
            ends_here = len(data) >= allowed
            data = data[: int(allowed)] if ends_here else data
            await trio.sleep(self.delay + len(data) / self.rate)
            count += len(data)
            self.passed += len(data)
            await sink.send_all(data)
            if ends_here:
                cut(self.cut_with_reset)
                return


class FaultProxy:
    """A proxy with faults; see `open_fault_proxy`."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.port = free_port()
        self.url = http_url("127.0.0.1", self.port)
        self.to_server = Direction()
        self.to_client = Direction()
        self.connections = 0  # accepted so far
        self._cutters: set[Callable[[bool], None]] = set()

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._cutters)

    def heal(self) -> None:
        """Ends all faults in both directions."""
        self.to_server.heal()
        self.to_client.heal()

    def cut(self, *, with_reset: bool = True) -> None:
        """Cuts all open connections now, on both sides."""
        for cutter in self._cutters:
            cutter(with_reset)

    async def serve(self, listener: trio.socket.SocketType) -> None:
        """Accepts connections until cancelled."""
        with listener:
            async with trio.open_nursery() as nursery:
                while True:
                    sock, _ = await listener.accept()
                    self.connections += 1
                    nursery.start_soon(self._connect, trio.SocketStream(sock))

    async def _connect(self, client: trio.SocketStream) -> None:
        with client.socket:
            try:
                server = await dial(self.target)
            except OSError:
                reset_on_close(client)
                return
            with server.socket:
                await self._forward(client, server)

    async def _forward(self, client: trio.SocketStream, server: trio.SocketStream) -> None:
        def cut(with_reset: bool) -> None:
            if with_reset:
                reset_on_close(client)
                reset_on_close(server)
            nursery.cancel_scope.cancel()

        async def pump(
            direction: Direction, source: trio.SocketStream, sink: trio.SocketStream
        ) -> None:
            try:
                await direction.pump(source, sink, cut)
            except trio.BrokenResourceError:  # the sink is gone
                cut(True)

        self._cutters.add(cut)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, self.to_server, client, server)
                nursery.start_soon(pump, self.to_client, server, client)
        finally:
            self._cutters.discard(cut)


@asynccontextmanager
async def open_fault_proxy(target: str) -> AsyncIterator[FaultProxy]:
    """Runs a proxy to the server at the URL `target`; all its connections end with it."""
    proxy = FaultProxy(target)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy.serve, listen_tcp("127.0.0.1", proxy.port))
        yield proxy
        nursery.cancel_scope.cancel()


async def _receive(stream: trio.SocketStream) -> bytes | None:
    """Returns the next bytes, b"" for EOF, None for a reset."""
    try:
        return bytes(await stream.receive_some(PIECE))
    except trio.BrokenResourceError:
        return None
