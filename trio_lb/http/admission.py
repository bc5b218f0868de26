"""Which requests may be forwarded, and in which form.

Parsers only say what a request is. It is judged here, for every parser, in one pass over the
fields that also removes hop-by-hop fields (RFC 9110 section 7.6.1) and everything that only a
proxy may say about a client. docs/http.md has all decisions in tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from trio_lb.errors import AnsweredHere, ClientError, LoopDetected

from .climbing import climbs
from .framing import FRAMING
from .host import origin_form
from .upgrade import offered
from .via import MOST_PASSES, goes_round

if TYPE_CHECKING:
    from .framing import Framing
    from .heads import Field, FieldLine, RequestHead

#: Fields that speak about one connection only.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)

#: What only proxies say about a client. It is never passed on as it came: what servers are told is
#: made anew, from the claims of those who are trusted to make any (`trio_lb.http.identity`).
IDENTITY = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
    }
)

#: Fields for the far end, whatever Connection says: RFC 9110 section 7.6.1 forbids to name such,
#: and to take them away would change who asks, for what, and what the body is.
END_TO_END = frozenset(
    {
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"max-forwards",
        b"origin",
        b"range",
        b"set-cookie",
    }
)

#: What this hop says itself, or drops. CGI and its heirs read `X_Real_IP` like `X-Real-IP`, so
#: that a twin with underscores would be heard where the field itself is not.
_OURS = HOP_BY_HOP | IDENTITY | {b"expect", b"max-forwards", b"x-request-id"}

#: The fields that are looked at; the others go on as they are.
_JUDGED = _OURS | FRAMING | {b"accept", b"host", b"proxy", b"via"}

#: RFC 9110 section 9.2.2: sending one of these twice does what sending it once does.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"})

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}")
_MAX_FORWARDS = re.compile(rb"[0-9]{1,9}")


class AdmittedRequest(NamedTuple):
    """A request that may go to a server.

    Attributes:
        method, version: as the client sent them.
        target: in origin form, or `*` for OPTIONS.
        host: value of the Host field (the authority of an absolute-form target wins), or None.
        lines: end-to-end field lines in their order, in the client's case, without Host and Via.
        via: what earlier proxies said in Via, or None.
        framing: of its body.
        expects_continue: the client waits for 100 (Continue) before it sends the body.
        wants_trailers: the client reads trailers (`TE: trailers`).
        request_id: a well-formed X-Request-ID of the client, or None.
        accept: value of the Accept field, or None.
        upgrade: protocols that the client offers to switch to, of those that may be offered on.
    """

    method: bytes
    target: bytes
    version: bytes
    host: bytes | None
    lines: list[FieldLine]
    via: bytes | None
    framing: Framing
    expects_continue: bool
    wants_trailers: bool
    request_id: bytes | None
    accept: bytes | None
    upgrade: tuple[bytes, ...] = ()

    @property
    def idempotent(self) -> bool:
        """It may be sent twice: a conversation in another protocol can't be begun again."""
        return self.method in IDEMPOTENT and not self.upgrade


@dataclass(slots=True)
class _Said:
    """What the fields of a request say to this hop: their values, those of lists one by one.

    Attributes:
        options: of Connection, in lower case, as are `te` and `expectations`.
        request_id: the first one that is well-formed.
    """

    hosts: list[bytes] = field(default_factory=list)
    options: list[bytes] = field(default_factory=list)
    te: list[bytes] = field(default_factory=list)
    upgrade: list[bytes] = field(default_factory=list)
    via: list[bytes] = field(default_factory=list)
    expectations: list[bytes] = field(default_factory=list)
    request_id: bytes | None = None
    accept: bytes | None = None


def admit(
    head: RequestHead, max_body: int | None = None, *, confined: bool = False
) -> AdmittedRequest:
    """Judge a parsed request and strip it of what is not for a server.

    Args:
        head: a head of HTTP/1.1 or 1.0 whose syntax is good (`trio_lb.http1.strict`).
        max_body: largest body in bytes, None for any.
        confined: a server is below a path, which the request must not climb out of.

    Raises:
        ClientError: with the status of the answer: 400 for what no gateway may pass on, 413 for
            a declared body over `max_body`, 417 for an unknown expectation, 501 for CONNECT and
            unknown transfer codings.
        AnsweredHere: Max-Forwards lets it go no further.
        LoopDetected: it has come through here too often (508).
    """
    method, target, version, fields, framing = head
    said, lines = _sort_out(fields)
    if max_body is not None and framing.length is not None and framing.length > max_body:
        raise ClientError("the request body is too large", 413)
    if not said.hosts and version == b"1.1":
        raise ClientError("the Host header is missing")
    target, host = origin_form(method, target, said.hosts)
    if confined and climbs(target):
        raise ClientError("the request target leads outside the path that is served here")
    if said.options:
        # Host, framing and identity are not among `lines`, so nothing can name them away.
        named = set(said.options) - END_TO_END
        lines = [line for line in lines if line[0].lower() not in named]
    if method in (b"OPTIONS", b"TRACE"):
        if method == b"TRACE" and framing.length != 0:
            raise ClientError("a TRACE request cannot have a body")
        lines = _count_down(method, lines)
    if said.via and goes_round(said.via):
        raise LoopDetected(
            f"the request has passed trio-lb {MOST_PASSES} times already: "
            "a server of this load balancer leads back to it"
        )
    if any(expectation != b"100-continue" for expectation in said.expectations):
        raise ClientError("unknown expectation: only 100-continue is supported", 417)
    return AdmittedRequest(
        method=method,
        target=target,
        version=version,
        host=host,
        lines=lines,
        via=b", ".join(said.via) if said.via else None,
        framing=framing,
        # An HTTP/1.0 client can't be waiting (RFC 9110 section 10.1.1).
        expects_continue=bool(said.expectations) and version == b"1.1",
        wants_trailers=b"trailers" in said.te and version == b"1.1",
        request_id=said.request_id,
        accept=said.accept,
        upgrade=offered(version, said.options, said.upgrade),
    )


def _sort_out(fields: list[Field]) -> tuple[_Said, list[FieldLine]]:
    """What fields say to this hop, and the lines that may go on.

    Raises:
        ClientError: a name differs from a framing field by an underscore.
    """
    said = _Said()
    lines: list[FieldLine] = []
    append = lines.append
    for name, lower, value in fields:
        if lower not in _JUDGED and b"_" not in lower:
            append((name, value))
        elif lower == b"host":
            said.hosts.append(value)
        elif lower in HOP_BY_HOP:
            if lower == b"connection":
                said.options += _comma_list(value)
            elif lower == b"te":
                said.te += _comma_list(value)
            elif lower == b"upgrade":
                said.upgrade.append(value)
        elif lower in IDENTITY or lower == b"proxy":
            pass  # CGI would make HTTP_PROXY of `Proxy`, and the server's own requests obey that
        elif lower == b"content-length":
            pass  # what it says is in the head's framing
        elif lower == b"via":
            said.via.append(value)
        elif lower == b"x-request-id":
            if said.request_id is None and _REQUEST_ID.fullmatch(value):
                said.request_id = value
        elif lower == b"expect":
            said.expectations += _comma_list(value)
        elif b"_" in lower and _is_twin(lower):
            pass
        else:
            if lower == b"accept":
                said.accept = value
            append((name, value))
    return said, lines


def _is_twin(lower: bytes) -> bool:
    """Would a server that reads `_` as `-` take this name for one that this hop decides on?

    Raises:
        ClientError: and for one that says where the body ends.
    """
    read = lower.replace(b"_", b"-")
    if read in FRAMING:
        raise ClientError("a header name differs from a framing header only by an underscore")
    return read in _OURS


def _count_down(method: bytes, lines: list[FieldLine]) -> list[FieldLine]:
    """One less in Max-Forwards (RFC 9110 section 7.6.2)."""
    counts = [value for name, value in lines if name.lower() == b"max-forwards"]
    if not counts:
        return lines
    if len(counts) > 1 or not _MAX_FORWARDS.fullmatch(counts[0]):
        raise ClientError("invalid Max-Forwards header")
    left = int(counts[0])
    if not left and method == b"TRACE":
        # An echo could show a script what its browser hides from it.
        raise AnsweredHere("TRACE is not supported", 501)
    if not left:
        raise AnsweredHere("Max-Forwards is 0: answered by this gateway", 200)
    return [
        (name, b"%d" % (left - 1) if name.lower() == b"max-forwards" else value)
        for name, value in lines
    ]


def _comma_list(value: bytes) -> list[bytes]:
    return [item for part in value.lower().split(b",") if (item := part.strip(b" \t"))]
