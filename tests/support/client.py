r"""A raw HTTP client: sends the bytes it is told to, reads strictly, and tells how things ended.

async with open_client(url) as client:
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
    first, second = await client.read_response(), await client.read_response()
assert first.complete and first.status == 200
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import h11
import trio

from tests.support.net import ByteStream, dial, reset_on_close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class End(StrEnum):
    """How a response ended."""

    COMPLETE = "complete"  # as its framing says
    EOF = "cut by EOF"
    RESET = "cut by RST"
    REFUSED = "never connected"


@dataclass(frozen=True, kw_only=True)
class Response:
    """What came in answer to one request. Header names are in lower case.

    A response that was cut has what came of it; its status is 0 if that was no whole head.
    """

    end: End
    status: int = 0
    reason: str = ""
    http_version: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    trailers: tuple[tuple[str, str], ...] = ()
    informational: tuple[int, ...] = ()  # the statuses of 1xx responses before it

    @property
    def complete(self) -> bool:
        """True if the response came to its end as its framing says."""
        return self.end is End.COMPLETE

    def header(self, name: str) -> str | None:
        """Returns the values of a header joined with ", ", None if it is absent."""
        values = [value for key, value in self.headers if key == name.lower()]
        return ", ".join(values) if values else None


class Client:
    """One connection; see `open_client`."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self._unread = b""  # received beyond the last response

    async def send(self, data: bytes) -> None:
        """Sends `data` as it is."""
        await self.stream.send_all(data)

    async def finish(self) -> None:
        """Ends the sending direction (FIN)."""
        await self.stream.send_eof()

    def reset(self) -> None:
        """Ends the connection with a RST, at once."""
        reset_on_close(self.stream)
        self.stream.socket.close()

    async def read_response(self, method: str = "GET") -> Response:
        """Reads the next final response, and the 1xx ones before it.

        Args:
            method: of the request that it answers, which its framing depends on.

        Raises:
            h11.RemoteProtocolError: what came is not correct HTTP/1.1.
        """
        parser = _parser(method)
        if self._unread:
            parser.receive_data(self._unread)
        builder = _ResponseBuilder()
        while True:
            event = parser.next_event()
            if isinstance(event, h11.EndOfMessage):
                self._unread = parser.trailing_data[0]
                return builder.build(End.COMPLETE, event.headers)
            if event is not h11.NEED_DATA:
                builder.add(event)
                continue
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                return builder.build(End.RESET)
            if not data and not builder.ends_by_closing:
                return builder.build(End.EOF)
            parser.receive_data(data)

    async def read_until_close(self) -> tuple[bytes, End]:
        """Reads all bytes that come; says whether EOF or a RST came at the end."""
        data, self._unread = bytearray(self._unread), b""
        try:
            while piece := await self.stream.receive_some(65536):
                data += piece
        except trio.BrokenResourceError:
            return bytes(data), End.RESET
        return bytes(data), End.EOF


class _ResponseBuilder:
    """Collects h11's events of one response."""

    def __init__(self) -> None:
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._informational: list[int] = []

    @property
    def ends_by_closing(self) -> bool:
        """True if the response has no length of its own (RFC 9112 section 6.3)."""
        if self._head is None:
            return False
        names = {name for name, _ in self._head.headers}
        return not names & {b"content-length", b"transfer-encoding"}

    def add(self, event: object) -> None:
        if isinstance(event, h11.InformationalResponse):
            self._informational.append(event.status_code)
        elif isinstance(event, h11.Response):
            self._head = event
        else:
            assert isinstance(event, h11.Data), event
            self._body += event.data

    def build(self, end: End, trailers: Sequence[tuple[bytes, bytes]] = ()) -> Response:
        informational = tuple(self._informational)
        if self._head is None:
            return Response(end=end, informational=informational)
        return Response(
            end=end,
            status=self._head.status_code,
            reason=self._head.reason.decode("latin-1"),
            http_version=self._head.http_version.decode(),
            headers=_text(self._head.headers),
            body=bytes(self._body),
            trailers=_text(trailers),
            informational=informational,
        )


@asynccontextmanager
async def open_client(url: str, source: str | None = None) -> AsyncIterator[Client]:
    """Connects to `http://host:port` or `unix:/path`; closes the connection at the end.

    Args:
        url: where to.
        source: the address to come from.
    """
    stream = await dial(url, source)
    try:
        yield Client(stream)
    finally:
        stream.socket.close()


async def request(
    url: str,
    method: str = "GET",
    *,
    target: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
    source: str | None = None,
) -> Response:
    """Sends one request on a connection of its own and returns the response.

    Args:
        url: `http://host:port/path`, or `unix:/path/of/socket`.
        method: any token.
        target: the request target as sent; default: the path and query of `url`.
        headers: sent after Host and, with a body, Content-Length.
        body: sent with Content-Length; None: no body and no such header.
        source: the address to come from.
    """
    parts = urlsplit(url)
    if target is None:
        target = "/" if parts.scheme == "unix" else parts._replace(scheme="", netloc="").geturl()
    fields = [("Host", parts.netloc or "localhost")]
    if body is not None:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target or '/'} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in (*fields, *headers)]
    async with open_client(url, source) as client:
        await client.send("\r\n".join((*lines, "", "")).encode("latin-1") + (body or b""))
        return await client.read_response(method)


def _parser(method: str) -> h11.Connection:
    """Returns a parser that waits for the response to a request with `method`."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "parser")]))
    parser.send(h11.EndOfMessage())
    return parser


def _text(headers: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
