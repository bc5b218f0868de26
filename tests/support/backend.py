"""A scripted HTTP/1.1 server on real sockets, which remembers all that it was sent.

A *script* is a coroutine function that answers one request by way of its `Exchange`; ready ones
are in `tests.support.scripts`. Requests are parsed strictly with h11; answers are written as the
script says, right or wrong. With a virtual clock, delays are virtual too.

    async with open_backend(scripts.answer(b"hello")) as backend:
        ...                       # send requests to backend.url
    assert backend.requests[0].target == "/path"
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11
import trio

from tests.support.net import (
    ByteStream,
    free_port,
    http_url,
    listen_tcp,
    listen_unix,
    reset_on_close,
)
from trio_lb.http import proxy_protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio_lb.http.proxy_protocol import ProxyHeader

Headers = Sequence[tuple[str, str]]
Script = Callable[["Exchange"], Awaitable[None]]

#: Bytes that are kept of each connection and of each request body; all are counted.
KEPT = 1 << 20


class PeerGoneError(Exception):
    """The peer ended its direction in the middle of a request, or between two."""


class End(StrEnum):
    """How a connection ended, as this side saw it."""

    OPEN = "open"
    PEER_CLOSED = "peer closed"
    PEER_RESET = "peer reset"
    CLOSED_HERE = "closed here"


@dataclass(eq=False)
class Request:
    """One request, as h11 read it. Header names are in lower case."""

    method: str
    target: str
    http_version: str
    headers: Headers
    body: bytes = b""  # the first KEPT bytes
    body_size: int = 0
    trailers: Headers = ()
    complete: bool = False  # read to the end of its body

    def header(self, name: str) -> str | None:
        """Returns the values of a header joined with ", ", None if it is absent."""
        values = [value for key, value in self.headers if key == name.lower()]
        return ", ".join(values) if values else None


@dataclass(eq=False)
class Connection:
    """One accepted connection."""

    number: int  # in order of arrival, from 0
    stream: ByteStream
    received: bytearray = field(default_factory=bytearray)  # the first KEPT bytes
    requests: list[Request] = field(default_factory=list)
    end: End = End.OPEN
    proxy_header: ProxyHeader | None = None  # the PROXY header that it began with

    async def receive(self) -> bytes:
        """Returns the next bytes as they come.

        Raises:
            PeerGoneError: the peer closed its direction.
            trio.BrokenResourceError: the peer has reset the connection.
        """
        data = await self.stream.receive_some(65536)
        if not data:
            raise PeerGoneError
        self.received += data[: max(0, KEPT - len(self.received))]
        return bytes(data)


class Exchange:
    """One request and the means to answer it."""

    def __init__(self, connection: Connection, parser: h11.Connection, head: h11.Request) -> None:
        self.connection = connection
        self.request = Request(
            head.method.decode(),
            head.target.decode("latin-1"),
            head.http_version.decode(),
            _text(head.headers),
        )
        self.closed = False
        self._parser = parser
        self._may_continue = True

    @property
    def index(self) -> int:
        """How many requests came before this one on its connection."""
        return self.connection.requests.index(self.request)

    @property
    def awaits_continue(self) -> bool:
        """True while the peer holds its body back until it gets 100 (Continue)."""
        return self._may_continue and self._parser.they_are_waiting_for_100_continue

    async def receive(self) -> bytes:
        """Returns the next bytes of the request's body, b"" at its end.

        Asks for the body with 100 (Continue) when the peer waits for that.
        """
        request = self.request
        while not request.complete:
            event = self._parser.next_event()
            if isinstance(event, h11.Data):
                request.body_size += len(event.data)
                request.body += bytes(event.data[: max(0, KEPT - len(request.body))])
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                request.trailers = _text(event.headers)
                request.complete = True
            elif event is h11.NEED_DATA:
                if self.awaits_continue:
                    self._may_continue = False
                    await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                self._parser.receive_data(await self.connection.receive())
        return b""

    async def read_body(self) -> bytes:
        """Reads the request to its end; returns what is kept of its body."""
        while await self.receive():
            pass
        return self.request.body

    async def send(self, data: bytes) -> None:
        """Sends `data` as it is."""
        await self.connection.stream.send_all(data)

    async def send_head(
        self, status: int = 200, headers: Headers = (), *, http_version: str = "1.1"
    ) -> None:
        """Sends a response head with exactly these headers."""
        await self.send(head(status, headers, http_version=http_version))

    async def respond(self, body: bytes = b"", status: int = 200, headers: Headers = ()) -> None:
        """Sends a whole response with its Content-Length; to HEAD, without the body."""
        fields = [("Content-Length", str(len(body))), *headers]
        await self.send(head(status, fields) + (b"" if self.request.method == "HEAD" else body))

    async def close(self) -> None:
        """Closes the connection with a FIN (if all that the peer sent was read)."""
        self.closed = True
        await self.connection.stream.aclose()

    async def reset(self) -> None:
        """Closes the connection with a RST."""
        reset_on_close(self.connection.stream)
        await self.close()

    @property
    def rest(self) -> bytes:
        """What was read beyond this request."""
        return self._parser.trailing_data[0]

    def next_parser(self) -> h11.Connection:
        """Returns a parser for the next request, fed with what was read beyond this one."""
        parser = _parser()
        if self._parser.trailing_data[0]:
            parser.receive_data(self._parser.trailing_data[0])
        return parser

    @property
    def keeps_alive(self) -> bool:
        """True if another request may follow this one, which was read to its end."""
        return not self.closed and self._parser.their_state is not h11.MUST_CLOSE


def head(status: int, headers: Headers, *, http_version: str = "1.1") -> bytes:
    """Returns the bytes of a response head."""
    reason = {known.value: known.phrase for known in HTTPStatus}.get(status, "")
    lines = [f"HTTP/{http_version} {status} {reason}", *(f"{k}: {v}" for k, v in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


class Backend:
    """A scripted server; see `open_backend`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        script: Script,
        host: str,
        unix: Path | None,
        idle_timeout: float,
    ) -> None:
        self.script = script  # may be exchanged at any time; holds from the next request on
        self.host = host
        self.port = 0 if unix else free_port(host)
        self.unix = unix
        self.proxy_protocol = False  # connections begin with a PROXY header
        self.connections: list[Connection] = []
        self.requests: list[Request] = []
        self.protocol_errors: list[h11.RemoteProtocolError] = []
        self._nursery = nursery
        self._idle_timeout = idle_timeout
        self._running: trio.CancelScope | None = None
        self._stopped = trio.Event()
        self._changed = trio.Event()

    @property
    def url(self) -> str:
        """`http://host:port`, or `unix:/path`."""
        return f"unix:{self.unix}" if self.unix else http_url(self.host, self.port)

    @property
    def address(self) -> str:
        """`host:port`, or the path of the unix socket."""
        return str(self.unix) if self.unix else self.url.removeprefix("http://")

    @property
    def open_connections(self) -> list[Connection]:
        """The connections that are open now."""
        return [connection for connection in self.connections if connection.end is End.OPEN]

    @property
    def request_ids(self) -> Counter[str | None]:
        """How often each X-Request-ID came (None: a request without one)."""
        return Counter(request.header("x-request-id") for request in self.requests)

    @property
    def is_running(self) -> bool:
        """True from `start` to `stop` or `kill`."""
        return self._running is not None

    async def wait_until(self, condition: Callable[[Backend], bool]) -> None:
        """Waits until `condition` holds; asked at each new or ended connection or request."""
        while not condition(self):
            await self._changed.wait()

    async def start(self) -> None:
        """Starts to listen, again on the same address; returns when it does."""
        sock = listen_unix(self.unix) if self.unix else listen_tcp(self.host, self.port)
        self._stopped = trio.Event()
        await self._nursery.start(self._run, sock)

    async def stop(self) -> None:
        """Stops to listen and closes all connections; does nothing when stopped."""
        if self._running is not None:
            self._running.cancel()
            await self._stopped.wait()

    async def kill(self) -> None:
        """Like `stop`, but abruptly: all connections are reset."""
        for connection in self.open_connections:
            reset_on_close(connection.stream)
        await self.stop()

    async def _run(
        self, listener: trio.socket.SocketType, *, task_status: trio.TaskStatus[None]
    ) -> None:
        try:
            with listener, trio.CancelScope() as self._running:
                async with trio.open_nursery() as nursery:
                    task_status.started()
                    while True:
                        sock, _ = await listener.accept()
                        nursery.start_soon(self._serve, trio.SocketStream(sock))
        finally:
            self._running = None
            self._stopped.set()

    async def _serve(self, stream: ByteStream) -> None:
        connection = Connection(len(self.connections), stream)
        self.connections.append(connection)
        self._notify()
        end = End.CLOSED_HERE
        try:
            await self._serve_requests(connection)
        except PeerGoneError:
            end = End.PEER_CLOSED
        except trio.BrokenResourceError:
            end = End.PEER_RESET
        except h11.RemoteProtocolError as error:
            self.protocol_errors.append(error)
        finally:
            stream.socket.close()
            connection.end = end
            self._notify()

    async def _serve_requests(self, connection: Connection) -> None:
        parser = _parser()
        if self.proxy_protocol:
            parser.receive_data(await _read_announcement(connection))
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                idle = bool(connection.requests) and not parser.trailing_data[0]
                with trio.move_on_after(self._idle_timeout if idle else math.inf) as scope:
                    parser.receive_data(await connection.receive())
                if scope.cancelled_caught:
                    return
                continue
            assert isinstance(event, h11.Request)
            exchange = Exchange(connection, parser, event)
            connection.requests.append(exchange.request)
            self.requests.append(exchange.request)
            self._notify()
            await self.script(exchange)
            if exchange.closed or exchange.awaits_continue:
                return
            await exchange.read_body()
            self._notify()
            if not exchange.keeps_alive:
                return
            parser = exchange.next_parser()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def open_backend(
    script: Script,
    *,
    host: str = "127.0.0.1",
    unix: Path | None = None,
    idle_timeout: float = math.inf,
) -> AsyncIterator[Backend]:
    """Runs a server that answers each request with `script`.

    Args:
        script: answers one request. An error in it, other than those of a connection that the
            peer has left, fails the test.
        host: IPv4 or IPv6 address to listen on, at a free port.
        unix: path of a unix socket to listen on instead.
        idle_timeout: seconds after which a connection that has served a request and waits for
            the next is closed.
    """
    async with trio.open_nursery() as nursery:
        backend = Backend(nursery, script, host, unix, idle_timeout)
        await backend.start()
        yield backend
        nursery.cancel_scope.cancel()


async def _read_announcement(connection: Connection) -> bytes:
    """Reads the PROXY header of a connection; returns what came behind it."""
    data = await connection.receive()
    while (parsed := proxy_protocol.parse(data)) is None:
        data += await connection.receive()
    connection.proxy_header, length = parsed
    return data[length:]


def _parser() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=KEPT)


def _text(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
