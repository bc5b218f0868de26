"""A small HTTP/1.1 server to balance among: it says its name, and can be stopped for a while."""

from __future__ import annotations

import errno
import socket
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, urlsplit

import h11
import trio

HOST: Final = "127.0.0.1"
_MAX_BODY: Final = 1024 * 1024
_MAX_STOP: Final = 3600
_MAX_SLOW: Final = 60_000
_RETRY: Final = 1.0
"""Seconds after which a port that somebody else has taken meanwhile is tried again."""


class _Refused(Exception):  # noqa: N818 -- an answer
    """A request that is answered with an error.

    Attributes:
        status: the status of the answer.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def free_port(port: int) -> int:
    """This port of the loopback interface if it is free, or else another one that is."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


class DemoServer:
    """One server. `GET /` answers its name and a count; `what_to_try` of the demo has the rest.

    Attributes:
        name: what it calls itself.
        port: where it listens; once it runs, the one that it found free.
        served: requests answered so far, without checks (`/health`).
    """

    def __init__(self, name: str, port: int = 0) -> None:
        self.name = name
        self.port = port
        self.served = 0
        self._running = trio.CancelScope()
        self._pause = 0.0

    def __repr__(self) -> str:
        return f"<DemoServer {self.name} port {self.port}, {self.served} served>"

    async def run(
        self, *, task_status: trio.TaskStatus[DemoServer] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled, with a pause whenever somebody asks for one."""
        try:
            listeners = await trio.open_tcp_listeners(self.port, host=HOST)
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
            listeners = await trio.open_tcp_listeners(0, host=HOST)
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started(self)
        while True:
            with trio.CancelScope() as self._running:
                await trio.serve_listeners(self._serve, listeners)
            await trio.sleep(self._pause)
            self._pause = 0.0
            listeners = await self._listen_again()

    async def _listen_again(self) -> list[trio.SocketListener]:
        while True:
            try:
                return await trio.open_tcp_listeners(self.port, host=HOST)
            except OSError:
                await trio.sleep(_RETRY)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Answer the requests of one connection."""
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._exchange(connection, stream):
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                await _answer(connection, stream, error.error_status_hint, f"{error}\n".encode())
        except trio.BrokenResourceError:
            pass  # the client is gone

    async def _exchange(self, connection: h11.Connection, stream: trio.SocketStream) -> bool:
        """Answer one request; whether another one may follow."""
        request = await _receive(connection, stream)
        if not isinstance(request, h11.Request):
            return False
        try:
            body = await _receive_body(connection, stream)
            status, answer = await self._respond(request, body)
        except _Refused as refused:
            status, answer = refused.status, f"{refused}\n".encode()
        try:
            await _answer(connection, stream, status, answer, head=request.method == b"HEAD")
        finally:
            if self._pause:
                self._running.cancel()
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _respond(self, request: h11.Request, body: bytes) -> tuple[int, bytes]:
        url = urlsplit(request.target.decode("ascii", "replace"))
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/health":
            return 200, b"well\n"
        self.served += 1
        match url.path:
            case "/":
                return 200, f"{self.name}: request {self.served}\n".encode()
            case "/echo":
                return 200, _head(request) + body
            case "/slow":
                ms = _number(query, "ms", default=1000, most=_MAX_SLOW)
                await trio.sleep(ms / 1000)
                return 200, f"{self.name}: after {ms} ms\n".encode()
            case "/stop" if request.method == b"POST":
                self._pause = _number(query, "seconds", default=15, most=_MAX_STOP)
                return 200, f"{self.name}: back in {self._pause} seconds\n".encode()
            case "/stop":
                raise _Refused(405, "stopping takes a POST")
        raise _Refused(404, "there are only /, /echo, /slow?ms=1000, /stop?seconds=15 and /health")


def _number(query: dict[str, str], name: str, *, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise _Refused(400, f"expected {name} from 1 to {most}")
    return int(text)


def _head(request: h11.Request) -> bytes:
    lines = [b"%s %s HTTP/%s" % (request.method, request.target, request.http_version)]
    lines += [b"%s: %s" % header for header in request.headers.raw_items()]
    return b"\n".join(lines) + b"\n\n"


async def _receive(connection: h11.Connection, stream: trio.SocketStream) -> h11.Event:
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            assert not isinstance(event, type)
            return event
        if connection.they_are_waiting_for_100_continue:
            interim = h11.InformationalResponse(status_code=100, headers=[])
            await stream.send_all(connection.send(interim) or b"")
        connection.receive_data(await stream.receive_some())


async def _receive_body(connection: h11.Connection, stream: trio.SocketStream) -> bytes:
    body = bytearray()
    while isinstance(event := await _receive(connection, stream), h11.Data):
        body += event.data
        if len(body) > _MAX_BODY:
            raise _Refused(413, f"expected at most {_MAX_BODY} bytes")
    return bytes(body)


async def _answer(
    connection: h11.Connection,
    stream: trio.SocketStream,
    status: int,
    body: bytes,
    *,
    head: bool = False,
) -> None:
    fields = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
    reason = HTTPStatus(status).phrase
    data = connection.send(h11.Response(status_code=status, headers=fields, reason=reason)) or b""
    if not head:
        data += connection.send(h11.Data(data=body)) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    await stream.send_all(data)
