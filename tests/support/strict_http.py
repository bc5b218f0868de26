"""A small reference parser of HTTP/1.1 that forgives nothing.

Tests of a gateway hold against it what the gateway has sent: if bytes parse here, no other parser
can find other messages in them. It is written from RFC 9110 and 9112 alone and shares no code with
trio_lb or h11. One line end (CRLF), one space where the grammar has one, one framing, no
extension, no folding, no empty line between messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import IPv6Address

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TEXT = rb"[\x21-\x7e\x80-\xff]"
_SPACED = rb"[\t \x21-\x7e\x80-\xff]*"

_REQUEST_LINE = re.compile(rb"(%b) ([\x21\x22\x24-\x7e]+) HTTP/1\.1" % _TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) (%b)" % _SPACED)
_FIELD = re.compile(rb"(%b): ?((?:%b(?:%b%b)?)?)" % (_TOKEN, _TEXT, _SPACED, _TEXT))
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")
_CHUNK_SIZE = re.compile(rb"0|[1-9A-Fa-f][0-9A-Fa-f]{0,14}")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+)")
_PORT = re.compile(r"(?::([0-9]{0,5}))?")

Fields = tuple[tuple[str, str], ...]
"""Field lines in their order, as (name in lower case, value)."""


class MalformedError(Exception):
    """These bytes can't become a message that is correct to the letter."""


@dataclass(frozen=True)
class Message:
    """What requests and responses share.

    Attributes:
        raw: its bytes, all of them.
        fields, body, trailers: its parts; of the body, the content without the framing.
    """

    raw: bytes
    fields: Fields
    body: bytes
    trailers: Fields

    def header(self, name: str) -> str | None:
        """The values of a field joined with ", "; None if it is absent."""
        values = [value for key, value in self.fields if key == name.lower()]
        return ", ".join(values) if values else None


@dataclass(frozen=True)
class Request(Message):
    """A request."""

    method: str
    target: str

    @property
    def host(self) -> str:
        """The value of Host, of which there is exactly one."""
        return dict(self.fields)["host"]


@dataclass(frozen=True)
class Response(Message):
    """A response.

    Attributes:
        status: 100 to 599.
        cut: the connection ended before the message did.
    """

    status: int
    cut: bool = False


def read_request_head(data: bytes) -> Request | None:
    """Returns the head that `data` begins with, as a request without its body.

    Raises:
        MalformedError: it can't become one.
    """
    head = _head(data)
    if head is None:
        return None
    first, fields, size = head
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        raise MalformedError(f"no request line: {first!r}")
    _check_host([value for name, value in fields if name == "host"])
    _framing(fields)
    return Request(data[:size], fields, b"", (), line[1].decode(), line[2].decode())


def read_request(data: bytes) -> Request | None:
    """Returns the request that `data` begins with, None while its end isn't there.

    Raises:
        MalformedError: it can't become one.
    """
    head = read_request_head(data)
    if head is None:
        return None
    framing, rest = _framing(head.fields), data[len(head.raw) :]
    content = _NOTHING if framing is None else _content(rest, framing)
    if content is None:
        return None
    raw = head.raw + rest[: content.size]
    return replace(head, raw=raw, body=content.body, trailers=content.trailers)


def read_requests(data: bytes) -> tuple[list[Request], bytes]:
    """Returns the requests that follow each other in `data`, and what is left: a part of one.

    Raises:
        MalformedError: some of it can't be a part of a request.
    """
    requests = []
    while data and (request := read_request(data)) is not None:
        requests.append(request)
        data = data[len(request.raw) :]
    return requests, data


def read_response(data: bytes, method: str, *, closed: bool) -> Response | None:
    """Returns the response that `data` begins with, None while its end isn't there.

    Args:
        data: what came.
        method: of the request that it answers; a response to HEAD has no body.
        closed: nothing more will come.

    Raises:
        MalformedError: it can't become one.
    """
    head = _head(data)
    if head is None:
        if closed and data:
            raise MalformedError(f"cut within its head: {data[-80:]!r}")
        return None
    first, fields, size = head
    line = _STATUS_LINE.fullmatch(first)
    if line is None:
        raise MalformedError(f"no status line: {first!r}")
    status, rest, framing = int(line[1]), data[size:], _framing(fields)
    cut = False
    if status < 200 or status in (204, 304) or method == "HEAD":
        if framing == "chunked" and method != "HEAD":
            raise MalformedError(f"chunked, in a response without a body: {status}")
        content: _Content | None = _NOTHING
    elif framing is None:
        content = _Content(rest, (), len(rest)) if closed else None
    else:
        content = _content(rest, framing)
        if content is None and closed:
            cut, content = True, _Content(_begun(rest, framing), (), len(rest))
    if content is None:
        return None
    raw = data[: size + content.size]
    return Response(raw, fields, content.body, content.trailers, status, cut)


@dataclass(frozen=True)
class _Content:
    body: bytes
    trailers: Fields
    size: int  # with its framing


_NOTHING = _Content(b"", (), 0)


def _head(data: bytes) -> tuple[bytes, Fields, int] | None:
    """First line, fields, and size of a head, or None while its end isn't there."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    return first, _fields(lines), end + 4


def _fields(lines: list[bytes]) -> Fields:
    fields = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise MalformedError(f"no field line: {line!r}")
        fields.append((field[1].decode().lower(), field[2].decode("latin-1")))
    return tuple(fields)


def _check_host(hosts: list[str]) -> None:
    """RFC 9112 section 3.2, RFC 3986 section 3.2.2."""
    if len(hosts) != 1:
        raise MalformedError(f"{len(hosts)} Host fields")
    host = _HOST.match(hosts[0])
    port = None if host is None else _PORT.fullmatch(hosts[0], host.end())
    if host is None or port is None or int(port[1] or 0) > 65535:
        raise MalformedError(f"no host: {hosts[0]!r}")
    if host[1] is not None:
        try:
            IPv6Address(host[1])
        except ValueError:
            raise MalformedError(f"no host: {hosts[0]!r}") from None


def _framing(fields: Fields) -> int | str | None:
    """A length in bytes, "chunked", or None: RFC 9112 section 6.3 without its tolerance."""
    values = [
        (name, value)
        for name, value in fields
        if name.replace("_", "-") in ("content-length", "transfer-encoding")
    ]
    match values:
        case []:
            return None
        case [("content-length", value)] if (
            _LENGTH.fullmatch(value.encode("latin-1")) and int(value) < 1 << 63
        ):
            return int(value)
        case [("transfer-encoding", "chunked")]:
            return "chunked"
    raise MalformedError(f"no clear framing: {values!r}")


def _content(data: bytes, framing: int | str) -> _Content | None:
    if isinstance(framing, int):
        return _Content(data[:framing], (), framing) if len(data) >= framing else None
    body, at = _chunks(data)
    if at is None:
        return None
    if data[at : at + 2] == b"\r\n":
        return _Content(body, (), at + 2)
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    return _Content(body, _fields(data[at:end].split(b"\r\n")), end + 4)


def _chunks(data: bytes) -> tuple[bytes, int | None]:
    """The content of the chunks, and where the last one ends, None while it isn't there."""
    body, at = b"", 0
    while (end := data.find(b"\r\n", at)) >= 0:
        if not _CHUNK_SIZE.fullmatch(data[at:end]):
            raise MalformedError(f"no chunk size: {data[at:end]!r}")
        size, at = int(data[at:end], 16), end + 2
        if not size:
            return body, at
        body += data[at : at + size]
        at += size
        if len(data) < at + 2:
            return body, None
        if data[at : at + 2] != b"\r\n":
            raise MalformedError(f"no line end behind a chunk: {data[at : at + 2]!r}")
        at += 2
    return body, None


def _begun(data: bytes, framing: int | str) -> bytes:
    """What there is of a body that was cut."""
    return data if isinstance(framing, int) else _chunks(data)[0]
