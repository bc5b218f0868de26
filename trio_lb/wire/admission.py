"""Which requests may be forwarded at all, and in which form.

h11 is a parser and not a policy: it accepts Content-Length beside Transfer-Encoding,
Transfer-Encoding in HTTP/1.0, odd Host values and versions. What it accepted is judged here, in
one pass over the fields that also leaves out everything that ends at this hop (RFC 9110
section 7.6.1) and everything that only a proxy may claim about a client.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from trio_lb.errors import ClientError

from .upgrade import offered

if TYPE_CHECKING:
    from .heads import FieldLine, RequestHead

#: Fields that speak about one connection only.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)

#: What only proxies say about a client. It is never passed on as it came: what servers are told is
#: made anew, from the claims of those who are trusted to make any (`trio_lb.wire.identity`).
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

#: RFC 9110 section 9.2.2: sending one of these twice does what sending it once does.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"})

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class AdmittedRequest(NamedTuple):
    """A request that may go to a server.

    Attributes:
        method, version: as the client sent them.
        target: in origin form, or `*` for OPTIONS.
        host: value of the Host field (the authority of an absolute-form target wins), or None.
        lines: end-to-end field lines in their order, in the client's case, without Host and Via.
        via: what earlier proxies said in Via, or None.
        content_length: of the body in bytes, or None when it has none or is chunked.
        chunked: the body is chunked.
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
    content_length: int | None
    chunked: bool
    expects_continue: bool
    wants_trailers: bool
    request_id: bytes | None
    accept: bytes | None
    upgrade: tuple[bytes, ...] = ()

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)

    @property
    def idempotent(self) -> bool:
        """It may be sent twice: a conversation in another protocol can't be begun again."""
        return self.method in IDEMPOTENT and not self.upgrade


def admit(head: RequestHead, max_body: int | None = None) -> AdmittedRequest:
    """Judge a parsed request and strip it of what is not for a server.

    Args:
        head: the head as h11 (or a stricter parser) read it.
        max_body: largest body in bytes, None for any.

    Raises:
        ClientError: with the status of the answer: 400 for what no gateway may pass on, 413 for
            a declared body over `max_body`, 417 for an unknown expectation, 501 for CONNECT,
            505 for a version that is not HTTP/1.x.
    """
    method, target, version, fields = head
    if version not in (b"1.1", b"1.0"):
        raise ClientError("only HTTP/1.1 and HTTP/1.0 are spoken here", 505)
    host: bytes | None = None
    accept = request_id = None
    expectations: list[bytes] = []
    via: list[bytes] = []
    options: list[bytes] = []
    te: list[bytes] = []
    upgrade: list[bytes] = []
    content_length: int | None = None
    chunked = False
    lines: list[FieldLine] = []
    append = lines.append
    for name, lower, value in fields:
        if _CONTROL.search(value):
            raise ClientError("a field value contains a control character")
        if lower == b"host":
            if host is not None:
                raise ClientError("more than one Host field")
            host = value
        elif lower in HOP_BY_HOP:
            if lower == b"connection":
                options += _comma_list(value)
            elif lower == b"te":
                te += _comma_list(value)
            elif lower == b"transfer-encoding":
                chunked = True
            elif lower == b"upgrade":
                upgrade.append(value)
        elif lower in IDENTITY:
            pass
        elif lower == b"via":
            via.append(value)
        elif lower == b"x-request-id":
            if request_id is None and _REQUEST_ID.fullmatch(value):
                request_id = value
        elif lower == b"expect":
            expectations += _comma_list(value)
        elif lower == b"content-length":
            content_length = int(value)  # h11 saw to it that these are digits, and few
        else:
            if lower == b"accept":
                accept = value
            append((name, value))
    _check_framing(version, chunked, content_length, max_body)
    target, host = _origin_form(method, target, host)
    if options:
        # Host, framing and identity are not among `lines`, so nothing can name them away.
        lines = [line for line in lines if line[0].lower() not in options]
    if any(expectation != b"100-continue" for expectation in expectations):
        raise ClientError("the only expectation known here is 100-continue", 417)
    return AdmittedRequest(
        method=method,
        target=target,
        version=version,
        host=host,
        lines=lines,
        via=b", ".join(via) if via else None,
        content_length=content_length,
        chunked=chunked,
        # An HTTP/1.0 client can't be waiting (RFC 9110 section 10.1.1).
        expects_continue=bool(expectations) and version == b"1.1",
        wants_trailers=b"trailers" in te and version == b"1.1",
        request_id=request_id,
        accept=accept,
        upgrade=offered(version, options, upgrade),
    )


def _check_framing(
    version: bytes, chunked: bool, content_length: int | None, max_body: int | None
) -> None:
    """RFC 9112 section 6.1 and 6.3: a message whose length could be read in two ways is refused."""
    if chunked and content_length is not None:
        raise ClientError("Content-Length and Transfer-Encoding in one request")
    if chunked and version == b"1.0":
        raise ClientError("Transfer-Encoding in an HTTP/1.0 request")
    if max_body is not None and content_length is not None and content_length > max_body:
        raise ClientError("the request body is too large", 413)


def _origin_form(method: bytes, target: bytes, host: bytes | None) -> tuple[bytes, bytes | None]:
    """Bring the target into origin form; an absolute target's authority replaces Host."""
    if method == b"CONNECT":
        raise ClientError("this is a gateway: CONNECT is not offered", 501)
    if not target.startswith(b"/"):
        if absolute := _ABSOLUTE.fullmatch(target):
            host, target = absolute[1], absolute[2]
            if not target.startswith(b"/"):
                # RFC 9112 section 3.2.4: OPTIONS of an authority alone is OPTIONS *.
                target = b"*" if method == b"OPTIONS" and not target else b"/" + target
            if not host:
                raise ClientError("the request target names no host")
        elif not (target == b"*" and method == b"OPTIONS"):
            raise ClientError("the request target is neither a path nor a URL")
    if b"#" in target:
        raise ClientError("the request target contains a fragment")
    if host is not None and not _HOST.fullmatch(host):
        raise ClientError("the Host field is not a host")
    return target, host


def _comma_list(value: bytes) -> list[bytes]:
    return [item for part in value.lower().split(b",") if (item := part.strip(b" \t"))]
