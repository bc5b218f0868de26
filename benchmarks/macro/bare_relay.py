"""The yardstick: the simplest relay with h11 on both sides and pooled server connections.

No policy, accounts, limits, timeouts or retries: what is left is what parsing and serialising
with h11, trio's streams and Python's calls cost at least.

    python bare_relay.py PORT SERVER_PORT...
"""

from __future__ import annotations

import itertools
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11
import trio

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Side:
    """One connection and what h11 knows of it."""

    stream: trio.SocketStream
    http: h11.Connection

    async def receive(self) -> None:
        """Feeds h11 with the next bytes."""
        self.http.receive_data(await self.stream.receive_some(65536))


@dataclass(slots=True)
class Pool:
    """Idle connections to one server, the last used on top."""

    port: int
    idle: list[Side]

    async def take(self) -> Side:
        """Returns a connection, a new one if none is idle."""
        if self.idle:
            return self.idle.pop()
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        return Side(stream, h11.Connection(h11.CLIENT))

    def give_back(self, side: Side) -> None:
        """Keeps a connection for the next request, if its exchange is complete."""
        if side.http.our_state is side.http.their_state is h11.DONE:
            side.http.start_next_cycle()
            self.idle.append(side)
        else:
            side.stream.socket.close()


async def serve(pools: Iterator[Pool], stream: trio.SocketStream) -> None:
    """Serves one client until it leaves."""
    client = Side(stream, h11.Connection(h11.SERVER))
    try:
        while True:
            while (request := client.http.next_event()) is h11.NEED_DATA:
                await client.receive()
            if not isinstance(request, h11.Request):
                return
            await relay(next(pools), request, client)
            if client.http.our_state is not h11.DONE:
                return
            client.http.start_next_cycle()
    except (h11.RemoteProtocolError, trio.BrokenResourceError):
        return
    finally:
        stream.socket.close()


async def relay(pool: Pool, request: h11.Request, client: Side) -> None:
    """Takes one request to a server, and its answer back."""
    server = await pool.take()
    try:
        await forward(client, server, [server.http.send(request) or b""])
        await forward(server, client, [])
    finally:
        pool.give_back(server)


async def forward(source: Side, sink: Side, ready: list[bytes]) -> None:
    """Forwards `ready` and a message up to its end; what came at once goes out at once."""
    while True:
        event = source.http.next_event()
        if event is h11.NEED_DATA:
            if ready:
                await sink.stream.send_all(b"".join(ready))
                ready = []
            await source.receive()
            continue
        assert isinstance(event, h11.Event)
        ready.append(sink.http.send(event) or b"")
        if isinstance(event, h11.EndOfMessage):
            await sink.stream.send_all(b"".join(ready))
            return


async def accept(listener: socket.socket, pools: Iterator[Pool]) -> None:
    """Serves all that connect, until cancelled.

    Takes all waiting connections at once: `trio.serve_tcp` takes one in each turn of the event
    loop, and when hundreds come under load, the last ones wait for many seconds.
    """
    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(listener)
            with suppress(BlockingIOError):
                while True:
                    sock = trio.socket.from_stdlib_socket(listener.accept()[0])
                    nursery.start_soon(serve, pools, trio.SocketStream(sock))


def main() -> None:
    """Relays from one port to servers in turn, until it is ended."""
    port, *servers = (int(argument) for argument in sys.argv[1:])
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        listener.setblocking(False)
        trio.run(accept, listener, itertools.cycle([Pool(server, []) for server in servers]))


if __name__ == "__main__":
    main()
