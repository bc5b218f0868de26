"""Heads as bytes. What was parsed was also checked; that it stayed so is checked here again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_lb.http.heads import FieldLine


def request_head(method: bytes, target: bytes, lines: list[FieldLine]) -> bytes:
    """A request line and fields, up to and including the empty line.

    Raises:
        ValueError: something contains a line break or NUL, which would make it another head.
    """
    return _head(b"%b %b HTTP/1.1" % (method, target), lines)


def response_head(status: int, reason: bytes, lines: list[FieldLine]) -> bytes:
    """A status line and fields, up to and including the empty line.

    Raises:
        ValueError: something contains a line break or NUL, which would make it another head.
    """
    return _head(b"HTTP/1.1 %d %b" % (status, reason), lines)


def trailers(lines: list[FieldLine]) -> bytes:
    """The last chunk, the fields behind it, and the empty line.

    Raises:
        ValueError: as above.
    """
    return _head(b"0", lines)


def _head(first: bytes, lines: list[FieldLine]) -> bytes:
    head = b"\r\n".join([first, *map(b": ".join, lines), b"", b""])
    breaks = len(lines) + 2
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
        raise ValueError("a line break or NUL inside a head")
    return head
