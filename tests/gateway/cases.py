"""What a case of the tables is, and the words in which the tables are written.

Texts stand for bytes, one for one (latin-1), so that "\\xe9" is the byte E9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: In place of a value that can't be known beforehand.
CLIENT = "the address of the client"
SERVER = "the authority of the server"

Value = str | re.Pattern[str] | None
"""What a field must be: this, something like this, or absent."""


@dataclass(frozen=True)
class Seen:
    """A request as the server must see it; see `saw`."""

    method: str
    target: str
    host: str
    fields: Mapping[str, Value]
    body: bytes
    trailers: tuple[tuple[str, str], ...]


class Ending(Enum):
    """What becomes of the client's connection after the last answer."""

    KEPT = "kept for the next request"
    CLOSED = "closed"
    RESET = "reset"


@dataclass(frozen=True)
class RequestCase:
    """Bytes of a client, and what must come of them.

    Attributes:
        name: unique, in lower case with hyphens.
        rfc: the section that decides, "9112 5.1", or in words why it is so.
        raw: what the client sends.
        answers: what comes back, in its order: for a request that reaches the server, as which;
            its answer is 200. For an answer of the gateway's own, the status.
        ending: of the client's connection then.
        in_body: what is wrong is in a body, so that the server may have begun to read the request.
        eof: the client ends its direction behind `raw`.
    """

    name: str
    rfc: str
    raw: bytes
    answers: tuple[Seen | int, ...]
    ending: Ending = Ending.KEPT
    in_body: bool = False
    eof: bool = False


class Then(Enum):
    """What the server does with its connection behind its answer."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"


class Outcome(Enum):
    """What the client sees of a server's answer."""

    PASSED = "all of it"
    REFUSED = "502 in its place"
    CUT = "a beginning of it, which can't be taken for the whole"
    BROKEN = "either of the last two: it depends on how the bytes come"


@dataclass(frozen=True)
class ResponseCase:
    """Bytes of a server, and what must come of them.

    Attributes:
        name: unique, in lower case with hyphens.
        rfc: the section that decides, or in words why it is so.
        raw: what the server sends, as soon as it has the head of the request.
        outcome: what comes of it.
        status, body, fields, trailers: what the client sees, where it is passed on.
        interim: the statuses of the 1xx responses that the client sees before.
        reused: the server's connection serves the next request; else it is closed.
        ending: of the client's connection.
        then: what the server does behind `raw`.
        ask: the request.
        unfinished: `ask` is only its beginning.
    """

    name: str
    rfc: str
    raw: bytes
    outcome: Outcome
    status: int = 200
    body: bytes = b""
    fields: Mapping[str, Value] = field(default_factory=dict)
    trailers: tuple[tuple[str, str], ...] = ()
    interim: tuple[int, ...] = ()
    reused: bool = False
    ending: Ending = Ending.KEPT
    then: Then = Then.KEEP
    ask: bytes = b""
    unfinished: bool = False


# Bytes


def octets(text: str) -> bytes:
    """The bytes that a text stands for."""
    return text.encode("latin-1")


def message(*lines: str, body: str = "") -> bytes:
    """A head of these lines, each ended by CRLF, the empty line, and a body."""
    return octets("\r\n".join((*lines, "", body)))


def get(*fields: str, target: str = "/", method: str = "GET", version: str = "1.1") -> bytes:
    """A request with `Host: a`, these field lines and no body."""
    return message(f"{method} {target} HTTP/{version}", "Host: a", *fields)


def post(*fields: str, body: str = "", version: str = "1.1") -> bytes:
    """A POST with `Host: a`, these field lines, of which one should frame it, and a body."""
    return message(f"POST / HTTP/{version}", "Host: a", *fields, body=body)


def chunked(body: str) -> bytes:
    """A chunked POST; the chunks are part of `body`."""
    return post("Transfer-Encoding: chunked", body=body)


def ok(*fields: str, body: str = "", line: str = "HTTP/1.1 200 OK") -> bytes:
    """A response of these field lines, of which one should frame it, and a body."""
    return message(line, *fields, body=body)


# Requests


def saw(
    line: str = "GET /",
    fields: Mapping[str, Value] | None = None,
    *,
    host: str = "a",
    body: str = "",
    trailers: Sequence[tuple[str, str]] = (),
) -> Seen:
    """A request that the server must see: "METHOD target", and some of its fields."""
    method, target = line.split(" ")
    return Seen(method, target, host, fields or {}, octets(body), tuple(trailers))


def forwarded(name: str, rfc: str, raw: bytes, *seen: Seen) -> RequestCase:
    """Passed on; the connection is kept. One plain GET of / if nothing else is said."""
    return RequestCase(name, rfc, raw, seen or (saw(),))


def last(name: str, rfc: str, raw: bytes, *seen: Seen) -> RequestCase:
    """Passed on as the last request of its connection."""
    return RequestCase(name, rfc, raw, seen or (saw(),), ending=Ending.CLOSED)


def answered(name: str, rfc: str, raw: bytes, status: int) -> RequestCase:
    """Answered by the gateway itself, and rightly so; the connection is closed."""
    return RequestCase(name, rfc, raw, (status,), Ending.CLOSED)


def refused(
    name: str, rfc: str, raw: bytes, status: int = 400, *, behind: Sequence[Seen] = ()
) -> RequestCase:
    """Refused, after the requests before it in `raw` were served; the connection is closed."""
    return RequestCase(name, rfc, raw, (*behind, status), Ending.CLOSED)


def refused_in_body(name: str, rfc: str, raw: bytes, status: int = 400) -> RequestCase:
    """Refused for what is in its body: the server sees a beginning at most; closed."""
    return RequestCase(name, rfc, raw, (status,), Ending.CLOSED, in_body=True)


def unfinished(
    name: str, rfc: str, raw: bytes, status: int | None = None, *, in_body: bool = False
) -> RequestCase:
    """The client ends its direction too early: answered with `status`, or closed without."""
    answers = () if status is None else (status,)
    return RequestCase(name, rfc, raw, answers, Ending.CLOSED, in_body, eof=True)


# Responses


def passed(
    name: str,
    rfc: str,
    raw: bytes,
    body: str = "",
    *,
    status: int = 200,
    fields: Mapping[str, Value] | None = None,
    trailers: Sequence[tuple[str, str]] = (),
    interim: Sequence[int] = (),
    reused: bool = True,
    ending: Ending = Ending.KEPT,
    then: Then = Then.KEEP,
    ask: bytes = b"",
) -> ResponseCase:
    """Passed on to its end."""
    return ResponseCase(
        name,
        rfc,
        raw,
        Outcome.PASSED,
        status=status,
        body=octets(body),
        fields=fields or {},
        trailers=tuple(trailers),
        interim=tuple(interim),
        reused=reused,
        ending=ending,
        then=then,
        ask=ask or get(),
    )


def spent(
    name: str,
    rfc: str,
    raw: bytes,
    body: str = "",
    *,
    status: int = 200,
    fields: Mapping[str, Value] | None = None,
    ending: Ending = Ending.KEPT,
    then: Then = Then.KEEP,
    ask: bytes = b"",
) -> ResponseCase:
    """Passed on to its end, after which the server's connection is good for nothing more."""
    return passed(
        name,
        rfc,
        raw,
        body,
        status=status,
        fields=fields,
        reused=False,
        ending=ending,
        then=then,
        ask=ask,
    )


def early(name: str, rfc: str, raw: bytes, body: str, *, status: int, ask: bytes) -> ResponseCase:
    """Passed on before the request is complete; both connections are closed."""
    case = spent(name, rfc, raw, body, status=status, ending=Ending.CLOSED, ask=ask)
    return replace(case, unfinished=True)


def bad_gateway(
    name: str,
    rfc: str,
    raw: bytes,
    *,
    interim: Sequence[int] = (),
    then: Then = Then.KEEP,
    ask: bytes = b"",
) -> ResponseCase:
    """502 in its place; the server's connection is closed."""
    return ResponseCase(
        name,
        rfc,
        raw,
        Outcome.REFUSED,
        status=502,
        interim=tuple(interim),
        then=then,
        ask=ask or get(),
    )


def broken(name: str, rfc: str, raw: bytes, body: str, *, then: Then = Then.KEEP) -> ResponseCase:
    """A body goes wrong behind `body`: the client gets 502 or a response that is visibly cut."""
    return ResponseCase(name, rfc, raw, Outcome.BROKEN, body=octets(body), then=then, ask=get())


def cut(name: str, rfc: str, raw: bytes, body: str, *, ask: bytes = b"") -> ResponseCase:
    """The server leaves in the middle: the client gets a response that is visibly cut."""
    return ResponseCase(
        name, rfc, raw, Outcome.CUT, body=octets(body), then=Then.CLOSE, ask=ask or get()
    )
