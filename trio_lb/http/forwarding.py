"""The heads that are sent on: a request to a server, a response to the client.

A forwarded head is always written anew from parsed parts, never passed on raw, so that no two
parsers can read it differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .admission import END_TO_END, HOP_BY_HOP, IDENTITY, AdmittedRequest
from .framing import Delimiter
from .via import with_ours

if TYPE_CHECKING:
    from .heads import FieldLine, ResponseHead
    from .identity import ClientIdentity

#: What this hop decides on in heads can't be said again behind a body (RFC 9110 section 6.5.1):
#: a server that adds trailers to the fields of the head would believe it.
_NOT_IN_TRAILERS = frozenset(
    {*HOP_BY_HOP, *IDENTITY, b"content-length", b"expect", b"host", b"via", b"x-request-id"}
)


#: The fields of responses that are looked at; the others go on as they are.
_OF_RESPONSES = HOP_BY_HOP | {b"content-length", b"via"}


def request_lines(
    request: AdmittedRequest, client: ClientIdentity, request_id: bytes, authority: bytes
) -> list[FieldLine]:
    """The field lines of the request as a server gets it.

    Args:
        request: the admitted request.
        client: who sent it.
        request_id: the client's own, if it was well-formed, or ours.
        authority: host and port of the server, for a request that came without Host (HTTP/1.0).
    """
    lines = [(b"Host", authority if request.host is None else request.host)]
    lines += request.lines
    delimiter, length = request.framing
    if delimiter is Delimiter.CHUNKED:
        lines.append((b"Transfer-Encoding", b"chunked"))
    elif delimiter is Delimiter.LENGTH and length is not None:
        lines.append((b"Content-Length", b"%d" % length))
    if request.expects_continue:
        lines.append((b"Expect", b"100-continue"))
    options = []
    if request.wants_trailers:
        lines.append((b"TE", b"trailers"))
        options.append(b"TE")
    if request.upgrade:
        lines.append((b"Upgrade", b", ".join(request.upgrade)))
        options.append(b"Upgrade")
    if options:
        lines.append((b"Connection", b", ".join(options)))
    lines.append((b"Via", with_ours(request.via, request.version)))
    lines += client.lines
    lines.append((b"X-Request-ID", request_id))
    return lines


def request_target(target: bytes, prefix: bytes) -> bytes:
    """The target at a server whose URL has a path: joined with exactly one slash."""
    if not prefix or target == b"*":
        return target
    return prefix.rstrip(b"/") + target


def response_lines(head: ResponseHead, date: bytes | None = None) -> list[FieldLine]:
    """The field lines of a response as the client gets it: end to end, plus Date and Via.

    Args:
        head: as the server sent it.
        date: when it came, for a final one that does not say so; None for any other.

    The framing fields of the server's connection are left to the codec of the client's, except
    for Content-Length, which is also part of the message (HEAD, 304), but not where none may be
    (RFC 9110 section 8.6).
    """
    named_away: set[bytes] = set()
    via: list[bytes] = []
    lines: list[FieldLine] = []
    for name, lower, value in head.fields:
        if lower not in _OF_RESPONSES:
            lines.append((name, value))
        elif lower == b"content-length":
            lines.append((name, b"%d" % int(value)))  # without zeros in front, as for requests
        elif lower == b"via":
            via.append(value)
        elif lower == b"connection":
            named_away.update(option.strip(b" \t").lower() for option in value.split(b","))
    named_away -= END_TO_END
    if head.status < 200 or head.status == 204:
        named_away.add(b"content-length")
    if named_away:
        lines = [line for line in lines if line[0].lower() not in named_away]
    if date is not None and not any(
        len(name) == 4 and name.lower() == b"date" for name, _ in lines
    ):
        lines.append((b"Date", date))
    lines.append((b"Via", with_ours(b", ".join(via), head.version)))
    return lines


def switching_lines(head: ResponseHead) -> list[FieldLine]:
    """The field lines of a 101 as the client gets it; it has no body, so nothing frames one."""
    protocols = b", ".join(value for _, lower, value in head.fields if lower == b"upgrade")
    return [*response_lines(head), (b"Connection", b"Upgrade"), (b"Upgrade", protocols)]


def trailer_lines(lines: list[FieldLine]) -> list[FieldLine]:
    """The trailers of a request or a response as they may go on."""
    return [line for line in lines if line[0].lower().replace(b"_", b"-") not in _NOT_IN_TRAILERS]
