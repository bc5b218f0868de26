"""Where a body ends (RFC 9112 section 6): one reading, or none.

A message whose end two parsers could see in different places is the root of request smuggling. So
a length is digits and nothing else, and said once; the only transfer coding is chunked, once and
last; and the two never come together.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from trio_lb.errors import ClientError, ResponseBroken

#: The fields that frame a body.
FRAMING = frozenset({b"content-length", b"transfer-encoding"})

# What fits the signed 64 bits that servers count in.
_LENGTH = re.compile(rb"[0-9]{1,19}")
_LARGEST = 2**63 - 1


class Framing(NamedTuple):
    """How a body is delimited.

    Attributes:
        length: in bytes, None if none is declared.
        chunked: by its chunks.
    """

    length: int | None = None
    chunked: bool = False


#: Nothing is said: a request has no body, that of a response ends with its connection.
UNSAID = Framing()


def request_framing(version: bytes, lengths: list[bytes], codings: list[bytes]) -> Framing:
    """How the body of a request is delimited.

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
            raise ClientError("the last transfer coding, and only that, must be chunked")
        if len(listed) > 1:
            raise ClientError("the only transfer coding known here is chunked", 501)
        return Framing(chunked=True)
    if not lengths:
        return UNSAID
    if len(lengths) > 1:
        raise ClientError("more than one Content-Length field")
    if not _LENGTH.fullmatch(lengths[0]) or (length := int(lengths[0])) > _LARGEST:
        raise ClientError("the Content-Length is not a length")
    return Framing(length)


def response_framing(version: bytes, lengths: list[bytes], codings: list[bytes]) -> Framing:
    """How the body of a response is delimited, if it has one.

    Several equal lengths are one (RFC 9110 section 8.6): servers behind servers do that.

    Args:
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
            raise ResponseBroken("the server sent another transfer coding than chunked")
        return Framing(chunked=True)
    if not lengths:
        return UNSAID
    if len(lengths) > 1 or b"," in lengths[0]:
        distinct = {length.strip(b" \t") for length in b",".join(lengths).split(b",")}
        if len(distinct) > 1:
            raise ResponseBroken("the server sent different Content-Lengths")
        lengths = [*distinct]
    if not _LENGTH.fullmatch(lengths[0]) or (length := int(lengths[0])) > _LARGEST:
        raise ResponseBroken("the server sent a Content-Length that is no length")
    return Framing(length)
