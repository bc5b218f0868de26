"""The bytes of planned requests and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.plan import DIGEST, ECHO, HOST, KEY, Fields, Framing, Start
from tests.support.backend import head as response_head
from tests.support.scripts import last_chunk

if TYPE_CHECKING:
    from tests.chaos.plan import Exchange

#: What a server sends that nobody has asked for; no client must ever see any of it. (None of it has
#: a key, nor is it like an answer of the balancer's own.)
UNASKED = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Unasked: 1\r\n\r\nforged",
    b"HTTP/1.1 204 No Content\r\nX-Unasked: 1\r\n\r\n",
    b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"x-unasked",
)
GARBAGE = b"\x00\x01 x-unasked: this is no HTTP\r\n\r\n"


def request_parts(exchange: Exchange) -> tuple[bytes, bytes]:
    """Head and body of a request; the body with its framing."""
    asked = exchange.asked
    target = f"http://{HOST}{asked.target}" if asked.absolute else asked.target
    lines = [f"{asked.method} {target} HTTP/{asked.version}", f"Host: {HOST}"]
    lines += [f"{KEY}: {exchange.key}", f"X-Request-ID: {exchange.key}"]
    lines += [f"{name}: {value}" for name, value in asked.fields]
    options = ["close"] if asked.close else []
    if asked.hop:
        lines.append("X-Hop: 1")
        options.append("X-Hop")
    if asked.upgrade:
        lines.append(f"Upgrade: {ECHO}")
        options.append("Upgrade")
    if options:
        lines.append(f"Connection: {', '.join(options)}")
    if asked.expect:
        lines.append("Expect: 100-continue")
    body = b""
    if asked.framing is Framing.LENGTH:
        lines.append(f"Content-Length: {asked.size}")
        body = exchange.upload
    elif asked.framing is Framing.CHUNKED:
        lines.append("Transfer-Encoding: chunked")
        extension = b";a=b" if asked.extensions else b""
        body = chunked(exchange.upload, asked.chunk, extension) + last_chunk(asked.trailers)
    return "\r\n".join((*lines, "", "")).encode("latin-1"), body


def chunked(data: bytes, size: int, extension: bytes = b"") -> bytes:
    """`data` in chunks of a size, without the last one."""
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)


def hint(exchange: Exchange, number: int) -> bytes:
    """A 103 response before the answer."""
    return response_head(103, [("Link", f"</{exchange.key}/{number}>")])


def answer_parts(exchange: Exchange, digest: str, body_digest: str) -> tuple[bytes, bytes]:
    """Head and body of the right answer; the body with its framing.

    Args:
        exchange: what was planned.
        digest: of what the server has read of the request when it sends its head.
        body_digest: of the whole request; for an answer that begins before there is one.
    """
    answer, body = exchange.answer, exchange.body
    fields: list[tuple[str, str]] = [(KEY, exchange.key), (DIGEST, digest), *answer.fields]
    framed = b""
    if answer.framing is Framing.LENGTH:
        fields.append(("Content-Length", str(answer.size)))
        framed = body
    elif answer.framing is Framing.CHUNKED:
        fields.append(("Transfer-Encoding", "chunked"))
        trailers = answer_trailers(exchange, body_digest)
        framed = chunked(body, answer.chunk) + last_chunk(trailers)
    elif answer.framing is Framing.CLOSE:
        framed = body
    if exchange.asked.upgrade:
        fields += [("Upgrade", ECHO), ("Connection", "Upgrade")]
    elif answer.close or answer.framing is Framing.CLOSE:
        fields.append(("Connection", "close"))
    return response_head(answer.status, fields), framed if exchange.has_body else b""


def answer_trailers(exchange: Exchange, body_digest: str) -> Fields:
    """The trailers of a chunked answer."""
    extra = ((DIGEST, body_digest),) if exchange.answer.start is Start.SPLIT else ()
    return (*exchange.answer.trailers, *extra)
