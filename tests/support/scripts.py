"""Ready scripts for `tests.support.backend`: good servers, slow ones, broken and hostile ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.support.backend import head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.backend import Exchange, Headers, Script

CHUNKED = ("Transfer-Encoding", "chunked")


def answer(body: bytes = b"ok", status: int = 200, headers: Headers = ()) -> Script:
    """A plain answer with Content-Length, after the request's body was read."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.respond(body, status, headers)

    return script


def echo() -> Script:
    """The request's body comes back chunked, piece by piece as it arrives."""

    async def script(exchange: Exchange) -> None:
        await exchange.send_head(200, [CHUNKED])
        while data := await exchange.receive():
            await exchange.send(chunk(data))
        await exchange.send(chunk(b""))

    return script


def bulk(size: int, piece: bytes = bytes(65536)) -> Script:
    """A body of `size` bytes, with Content-Length, sent in pieces."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send_head(200, [("Content-Length", str(size))])
        left = size
        while left:
            await exchange.send(piece[:left])
            left -= min(left, len(piece))

    return script


def chunked(chunks: Sequence[bytes], trailers: Headers = ()) -> Script:
    """A chunked answer, one chunk after the other, with trailers."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send_head(200, [CHUNKED])
        for data in chunks:
            await exchange.send(chunk(data))
        await exchange.send(last_chunk(trailers))

    return script


def until_close(body: bytes, http_version: str = "1.1") -> Script:
    """An answer without any length, which ends by closing."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send_head(200, http_version=http_version)
        await exchange.send(body)
        await exchange.close()

    return script


def closing(body: bytes = b"ok") -> Script:
    """A plain answer with `Connection: close`, and the connection is closed."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.respond(body, headers=[("Connection", "close")])
        await exchange.close()

    return script


def switching(then: Script, protocol: str = "websocket", behind: bytes = b"") -> Script:
    """Grants an Upgrade, and leaves the bare connection to `then`; closes it if that did not.

    Args:
        then: reads and writes `exchange.connection.stream`; what came early is `exchange.rest`.
        protocol: what is switched to.
        behind: sent together with the 101.
    """

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        fields = [("Connection", "Upgrade"), ("Upgrade", protocol), ("Sec-WebSocket-Accept", "x")]
        await exchange.send(head(101, fields) + behind)
        await then(exchange)
        if not exchange.closed:
            await exchange.close()

    return script


async def mirror(exchange: Exchange) -> None:
    """For `switching`: everything comes back, to the end."""
    stream, data = exchange.connection.stream, exchange.rest
    while data or (data := await stream.receive_some(65536)):
        await stream.send_all(data)
        data = b""


def delayed(seconds: float, then: Script) -> Script:
    """Reads the request, waits, then answers like `then`."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await trio.sleep(seconds)
        await then(exchange)

    return script


def informational(status: int, headers: Headers, then: Script) -> Script:
    """A 1xx response first, then `then`."""

    async def script(exchange: Exchange) -> None:
        await exchange.send_head(status, headers)
        await then(exchange)

    return script


def early_answer(status: int = 413, body: bytes = b"too large", *, lingers: bool = True) -> Script:
    """Answers at the request's head, with `Connection: close`, while its body is coming.

    Args:
        status: of the answer.
        body: of the answer.
        lingers: ends its own direction, then reads on until the peer closes, as servers should.
            Otherwise it closes with bytes unread, which resets the connection.
    """

    async def script(exchange: Exchange) -> None:
        await exchange.respond(body, status, [("Connection", "close")])
        if lingers:
            await exchange.connection.stream.send_eof()
            while True:
                await exchange.connection.receive()
        await exchange.reset()

    return script


def cut_body(sent: bytes, declared: int, *, reset: bool) -> Script:
    """Promises `declared` bytes, sends fewer, and ends the connection (RST or FIN)."""
    return raw(_head_with_length(declared) + sent, reset=reset)


def cut_chunked(sent: Sequence[bytes], *, reset: bool) -> Script:
    """Whole chunks, but never the last one; then ends the connection (RST or FIN)."""
    pieces = b"".join(chunk(data) for data in sent)
    return raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces, reset=reset)


def garbage_head() -> Script:
    """Bytes that no HTTP parser takes for a response, and closes."""
    return raw(b"\x00\x01 this is not HTTP\r\n\r\n", reset=False)


def raw(data: bytes, *, reset: bool) -> Script:
    """Reads the request, sends `data` as it is, and ends the connection (RST or FIN)."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(data)
        await (exchange.reset() if reset else exchange.close())

    return script


def endless_head() -> Script:
    """Header lines without an end, until the peer leaves."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await exchange.send(b"X-More: and more\r\n" * 64)

    return script


def overlong(body: bytes, extra: bytes) -> Script:
    """A whole answer, and bytes behind it that belong to no request; keeps the connection."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(_head_with_length(len(body)) + body + extra)

    return script


def hang(*, reads: bool = True) -> Script:
    """Never answers. With `reads`, it takes what comes, and ends when the peer leaves."""

    async def script(exchange: Exchange) -> None:
        while reads:
            await exchange.connection.receive()
        await trio.sleep_forever()

    return script


def drop_reused(then: Script) -> Script:
    """Answers the first request of each connection; resets the connection at the second."""

    async def script(exchange: Exchange) -> None:
        await (exchange.reset() if exchange.index else then(exchange))

    return script


def in_turn(*scripts: Script) -> Script:
    """The first request (of the whole server) gets the first script, and so on; the last stays."""
    remaining = list(scripts)

    async def script(exchange: Exchange) -> None:
        current = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        await current(exchange)

    return script


def chunk(data: bytes) -> bytes:
    """Returns `data` as one chunk; without data, the end of a chunked body without trailers."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Headers) -> bytes:
    """Returns the end of a chunked body."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
    return b"0\r\n" + lines.encode("latin-1") + b"\r\n"


def _head_with_length(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length
