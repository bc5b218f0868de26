"""Where a body ends (RFC 9112 section 6): one interpretation, or an error.

Request smuggling needs a message whose end two parsers see in different places. So a length is
digits only, and given once; the only transfer coding is chunked, once and last; and the two never
come together.

Framing is decided once, when a head is read, and travels with it as the head's `framing`.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from trio_lb.errors import ClientError, ResponseBroken

#: The fields that frame a body.
FRAMING = frozenset({b"content-length", b"transfer-encoding"})

# What fits the signed 64 bits that servers count in.
_LENGTH = re.compile(rb"[0-9]{1,19}")
_LARGEST = 2**63 - 1


class Delimiter(Enum):
    """What says where a body ends."""

    NONE = "there is none"
    LENGTH = "its declared length, which may be 0"
    CHUNKED = "its last chunk"
    CLOSE = "the end of the connection"


class Framing(NamedTuple):
    """How a body is delimited.

    Attributes:
        delimiter: what says where it ends.
        length: in bytes, where that is known before the body; else None.
    """

    delimiter: Delimiter
    length: int | None


NO_BODY: Final = Framing(Delimiter.NONE, 0)
CHUNKED: Final = Framing(Delimiter.CHUNKED, None)
UNTIL_CLOSE: Final = Framing(Delimiter.CLOSE, None)


def of_length(length: int) -> Framing:
    """The framing of a body whose length in bytes is declared."""
    return Framing(Delimiter.LENGTH, length)


def request_framing(version: bytes, lengths: list[bytes], codings: list[bytes]) -> Framing:
    """How the body of a request is delimited (RFC 9112 section 6.3).

    Args:
        version: of the request.
        lengths: the values of its Content-Length fields.
        codings: the values of its Transfer-Encoding fields.

    Raises:
        ClientError: that can't be told for sure (400), or there is a transfer coding below
            chunked (501).
    """
    if codings:
        if lengths:
            raise ClientError("Content-Length and Transfer-Encoding in one request")
        if version == b"1.0":
            raise ClientError("Transfer-Encoding in an HTTP/1.0 request")
        listed = [coding.strip(b" \t").lower() for coding in b",".join(codings).split(b",")]
        if listed[-1] != b"chunked" or listed.count(b"chunked") > 1 or b"" in listed:
            raise ClientError("chunked must be the last transfer coding, and only that")
        if len(listed) > 1:
            raise ClientError("unknown transfer coding: only chunked is supported", 501)
        return CHUNKED
    if not lengths:
        return NO_BODY
    if len(lengths) > 1:
        raise ClientError("more than one Content-Length header")
    if not _LENGTH.fullmatch(lengths[0]) or (length := int(lengths[0])) > _LARGEST:
        raise ClientError("invalid Content-Length header")
    return of_length(length)


def response_framing(
    method: bytes, status: int, version: bytes, lengths: list[bytes], codings: list[bytes]
) -> Framing:
    """How the body of a response is delimited (RFC 9112 section 6.3).

    Where there can't be one, what its fields say is about another response, and must be good
    nevertheless. Several equal lengths are one (RFC 9110 section 8.6): servers behind servers do
    that.

    Args:
        method: of the request.
        status: of the response.
        version: of the response.
        lengths: the values of its Content-Length fields.
        codings: the values of its Transfer-Encoding fields.

    Raises:
        ResponseBroken: that can't be told for sure.
    """
    if codings:
        if lengths:
            raise ResponseBroken("the server sent Content-Length and Transfer-Encoding")
        if version == b"1.0":
            raise ResponseBroken("the server sent Transfer-Encoding in HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise ResponseBroken("the server sent an unsupported transfer coding")
        framing = CHUNKED
    elif lengths:
        framing = of_length(_response_length(lengths))
    else:
        framing = UNTIL_CLOSE
    bodiless = method == b"HEAD" or status < 200 or status in (204, 304)
    return NO_BODY if bodiless else framing


def _response_length(lengths: list[bytes]) -> int:
    if len(lengths) > 1 or b"," in lengths[0]:
        distinct = {length.strip(b" \t") for length in b",".join(lengths).split(b",")}
        if len(distinct) > 1:
            raise ResponseBroken("the server sent different Content-Lengths")
        lengths = [*distinct]
    if not _LENGTH.fullmatch(lengths[0]) or (length := int(lengths[0])) > _LARGEST:
        raise ResponseBroken("the server sent an invalid Content-Length")
    return length
