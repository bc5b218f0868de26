"""Classes of requests beside the ordinary GET and POST, as bytes for the load generator in C."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

#: How the load generator goes about them, see client.c.
Mode: TypeAlias = Literal["plain", "expect", "websocket"]


@dataclass(frozen=True)
class Request:
    """What is sent, again and again, on each connection.

    Attributes:
        text: the bytes.
        like: the plain class that has the same shape, to which the cost is compared.
        mode: whether something has to happen before all of it is sent.
    """

    text: bytes
    like: str
    mode: Mode = "plain"


def _get(fields: str = "", *, target: str = "/32", method: str = "GET", minor: int = 1) -> bytes:
    return f"{method} {target} HTTP/1.{minor}\r\nHost: bench\r\n{fields}\r\n".encode()


def _post(fields: str = "") -> bytes:
    # The server reads all of it before it answers.
    return _get(f"{fields}Content-Length: 256\r\n", target="/upload", method="POST") + b"x" * 256


_H2C = (
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
)
_HANDSHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_LAST_CHUNKS = b"100\r\n" + b"x" * 256 + b"\r\n0\r\nX-Sum: 1\r\n\r\n"

CLASSES = {
    "plain": Request(_get(), "plain"),
    "plain-post": Request(_post(), "plain-post"),
    "plain-close": Request(_get("Connection: close\r\n"), "plain-close"),
    "h2c": Request(_get(_H2C), "plain"),
    "http10": Request(_get(minor=0), "plain-close"),
    "http10-keep-alive": Request(_get("Connection: keep-alive\r\n", minor=0), "plain"),
    # The server's answer ends by closing, so each request has a server connection of its own.
    "closing": Request(_get(target="/closing/32"), "plain"),
    "te": Request(_get("TE: trailers\r\n"), "plain"),
    "trailers": Request(_get("TE: trailers\r\n", target="/trailers/32"), "plain"),
    "request-trailers": Request(
        _get("Transfer-Encoding: chunked\r\n", target="/upload", method="POST") + _LAST_CHUNKS,
        "plain-post",
    ),
    "absolute": Request(_get(target="http://bench/32"), "plain"),
    "expect": Request(_post("Expect: 100-continue\r\n"), "plain-post", "expect"),
    "head": Request(_get(method="HEAD"), "plain"),
    "204": Request(_get(target="/"), "plain"),
    "304": Request(_get(target="/304"), "plain"),
    # Never plain: what the slow path costs.
    "slow": Request(_get("Proxy: x\r\n"), "plain"),
    "websocket": Request(_get(_HANDSHAKE, target="/websocket"), "plain", "websocket"),
}
