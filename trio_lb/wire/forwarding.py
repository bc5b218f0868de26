"""The heads that go on: a request to a server, a response to the client.

A forwarded head is always written anew from parsed parts, never passed on raw, so that no two
parsers can read it differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .admission import HOP_BY_HOP, IDENTITY, AdmittedRequest

if TYPE_CHECKING:
    from .heads import FieldLine, ResponseHead

#: Our name in Via (RFC 9110 section 7.6.3).
PSEUDONYM = b"trio-lb"

#: What this hop decides on in heads can't be said again behind a body (RFC 9110 section 6.5.1):
#: a server that adds trailers to the fields of the head would believe it.
_NOT_IN_TRAILERS = frozenset(
    {*HOP_BY_HOP, *IDENTITY, b"content-length", b"expect", b"host", b"via", b"x-request-id"}
)


class ClientIdentity(NamedTuple):
    """What servers are told about a client's connection.

    Attributes:
        address: the client's IP address, or `unknown` on a unix socket.
        scheme: `http` or `https`.
    """

    address: bytes
    scheme: bytes


def request_lines(
    request: AdmittedRequest, client: ClientIdentity, request_id: bytes, authority: bytes
) -> list[FieldLine]:
    """The field lines of the request as a server gets it.

    Args:
        request: the admitted request.
        client: who sent it; replaces every such claim that came with it.
        request_id: the client's own, if it was well-formed, or ours.
        authority: host and port of the server, for a request that came without Host (HTTP/1.0).
    """
    lines = [(b"Host", authority if request.host is None else request.host)]
    lines += request.lines
    if request.content_length is not None:
        lines.append((b"Content-Length", b"%d" % request.content_length))
    elif request.chunked:
        lines.append((b"Transfer-Encoding", b"chunked"))
    if request.expects_continue:
        lines.append((b"Expect", b"100-continue"))
    if request.wants_trailers:
        lines.append((b"TE", b"trailers"))
        lines.append((b"Connection", b"TE"))
    lines.append((b"Via", _via(request.via, request.version)))
    lines += _identity_lines(client, request.host)
    lines.append((b"X-Request-ID", request_id))
    return lines


def _identity_lines(client: ClientIdentity, host: bytes | None) -> list[FieldLine]:
    lines = [(b"X-Forwarded-For", client.address), (b"X-Forwarded-Proto", client.scheme)]
    if host is not None:
        lines.append((b"X-Forwarded-Host", host))
    lines.append((b"X-Real-IP", client.address))
    return lines


def identity_pieces(client: ClientIdentity) -> list[bytes]:
    """The lines that tell a server about a client, cut open where the value of Host belongs."""
    lines = _identity_lines(client, b"\0")
    return b"".join(b"%b: %b\r\n" % line for line in lines).split(b"\0")


def request_target(target: bytes, prefix: bytes) -> bytes:
    """The target at a server whose URL has a path: joined with exactly one slash."""
    if not prefix or target == b"*":
        return target
    return prefix.rstrip(b"/") + target


def response_lines(head: ResponseHead) -> list[FieldLine]:
    """The field lines of a response as the client gets it: end to end, plus Via.

    The framing fields of the server's connection are left to the codec of the client's, except
    for Content-Length, which is also part of the message (HEAD, 304).
    """
    named_away: set[bytes] = set()
    chunked = False
    via: list[bytes] = []
    for _, lower, value in head.fields:
        if lower == b"connection":
            named_away.update(option.strip(b" \t").lower() for option in value.split(b","))
        elif lower == b"transfer-encoding":
            chunked = True
        elif lower == b"via":
            via.append(value)
    named_away.discard(b"content-length")
    lines = [
        (name, value)
        for name, lower, value in head.fields
        if lower not in HOP_BY_HOP
        and lower != b"via"
        and lower not in named_away
        # RFC 9112 section 6.3: where both are there, Transfer-Encoding is the true one.
        and not (chunked and lower == b"content-length")
    ]
    lines.append((b"Via", _via(b", ".join(via), head.version)))
    return lines


def trailer_lines(lines: list[FieldLine]) -> list[FieldLine]:
    """The trailers of a request or a response as they may go on."""
    return [line for line in lines if line[0].lower() not in _NOT_IN_TRAILERS]


def _via(earlier: bytes | None, version: bytes) -> bytes:
    own = version + b" " + PSEUDONYM
    return earlier + b", " + own if earlier else own
