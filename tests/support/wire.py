"""Reading messages through a codec, however their bytes arrive."""

from __future__ import annotations

from typing import NamedTuple

from trio_lb.errors import ClientError, ClientGone, ResponseBroken
from trio_lb.http.heads import FieldLine, RequestHead, ResponseHead
from trio_lb.http1.codec import END, NEED_DATA, ClientCodec, ServerCodec
from trio_lb.http1.h11_codec import H11ClientCodec, H11ServerCodec


class Whole(NamedTuple):
    """A message that was read to its end."""

    head: RequestHead | ResponseHead
    body: bytes
    trailers: list[FieldLine]


def split(data: bytes, lengths: list[int]) -> list[bytes]:
    """The same bytes in pieces of these lengths, over and over."""
    pieces = []
    at = turn = 0
    while at < len(data):
        length = lengths[turn % len(lengths)]
        pieces.append(data[at : at + length])
        at += length
        turn += 1
    return pieces


def read_requests(pieces: list[bytes], **limits: int) -> tuple[list[Whole], int | str]:
    """All requests on a connection, and how it ended.

    Args:
        pieces: what comes, and then the end of the stream; fed only when more is asked for.
        limits: `head`, `target`, `fields`.

    Returns:
        The whole requests; `end` between two, `gone` in the middle of a body, or the status of
        the refusal.
    """
    side = H11ClientCodec(
        limits.get("head", 16384), limits.get("target", 8192), limits.get("fields", 100)
    )
    left = [*pieces, b""]
    requests = []
    try:
        while (head := _next_head(side, left)) is not None:
            requests.append(Whole(head, _rest(side, left), side.trailers))
            side.response(200, b"OK", [(b"Content-Length", b"0")])
            side.end([])
            if not side.may_go_on:
                return requests, "last"
            side.start_next_cycle()
    except ClientError as exc:
        return requests, exc.status
    except ClientGone:
        return requests, "gone"
    return requests, "end"


def read_responses(pieces: list[bytes], method: bytes = b"GET") -> tuple[list[Whole], str]:
    """The interim and the final response to a request, and what became of the connection.

    Returns:
        The heads that came, the last one with its body; `reusable`, `closed` or `broken`.
    """
    side = H11ServerCodec()
    side.request(method, b"/", [(b"Host", b"a")])
    side.end([])
    left = [*pieces, b""]
    responses: list[Whole] = []
    try:
        while not responses or responses[-1].head.status < 200:  # type: ignore[union-attr]
            head = side.read_head()
            if isinstance(head, ResponseHead):
                body = _rest(side, left) if head.status >= 200 else b""
                responses.append(Whole(head, body, side.trailers))
            else:
                side.feed(left.pop(0))
    except ResponseBroken:
        return responses, "broken"
    for rest in left[:-1]:
        side.feed(rest)
    return responses, "reusable" if side.reusable else "closed"


def _next_head(side: ClientCodec, left: list[bytes]) -> RequestHead | None:
    while (part := side.read_head()) is NEED_DATA:
        side.feed(left.pop(0))
    if isinstance(part, RequestHead):
        return part
    assert part is END
    return None


def _rest(side: ClientCodec | ServerCodec, left: list[bytes]) -> bytes:
    body = b""
    while (part := side.read_body()) is not END:
        if part is NEED_DATA:
            side.feed(left.pop(0))
        else:
            assert isinstance(part, bytes | bytearray)
            body += part
    return body
