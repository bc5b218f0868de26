"""Which requests are forwarded, and what of them."""

from __future__ import annotations

import pytest

from trio_lb.errors import AnsweredHere, ClientError
from trio_lb.http.admission import AdmittedRequest, admit
from trio_lb.http.framing import CHUNKED, NO_BODY, of_length
from trio_lb.http.heads import RequestHead
from trio_lb.http1.h11_codec import H11ClientCodec

HOST = b"Host: example.org"


def request(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> AdmittedRequest:
    """What is admitted of a request with these field lines."""
    return admit(parse(*lines, first=first))


def parse(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> RequestHead:
    """A head as h11 reads it."""
    side = H11ClientCodec(head_limit=65536, target_limit=65536, field_limit=1000)
    side.feed(b"\r\n".join((first, *lines, b"", b"")))
    head = side.read_head()
    assert isinstance(head, RequestHead)
    return head


@pytest.mark.parametrize(
    ("first", "lines", "status"),
    [
        pytest.param(b"GET / HTTP/2.0", [HOST], 505, id="version 2"),
        pytest.param(b"GET / HTTP/1.2", [HOST], 505, id="version 1.2"),
        pytest.param(b"PRI * HTTP/2.0", [], 505, id="HTTP/2 with prior knowledge"),
        pytest.param(b"GET / HTTP/0.9", [HOST], 400, id="version 0.9"),
        pytest.param(b"GET / HTTP/1.1", [], 400, id="no Host"),
        pytest.param(b"GET http://a/ HTTP/1.1", [], 400, id="no Host beside an absolute target"),
        pytest.param(b"GET / HTTP/1.1", [HOST, HOST], 400, id="two Hosts"),
        pytest.param(b"GET / HTTP/1.1", [b"Host:"], 400, id="empty Host"),
        pytest.param(b"GET / HTTP/1.0", [b"Host:"], 400, id="empty Host in HTTP/1.0"),
        pytest.param(b"CONNECT a:1 HTTP/1.1", [HOST], 501, id="CONNECT"),
        pytest.param(
            b"POST / HTTP/1.1",
            [HOST, b"Content-Length: 3", b"Transfer-Encoding: chunked"],
            400,
            id="two framings",
        ),
        pytest.param(
            b"POST / HTTP/1.1",
            [HOST, b"Transfer-Encoding: chunked", b"Content-Length: 3"],
            400,
            id="two framings, other order",
        ),
        pytest.param(
            b"POST / HTTP/1.0", [b"Transfer-Encoding: chunked"], 400, id="chunked in HTTP/1.0"
        ),
        pytest.param(b"GET / HTTP/1.1", [HOST, b"Expect: a-miracle"], 417, id="expectation"),
        pytest.param(
            b"GET / HTTP/1.1",
            [HOST, b"Expect: a-miracle", b"Expect: 100-continue"],
            417,
            id="two expectations",
        ),
        pytest.param(
            b"GET / HTTP/1.1", [HOST, b"Expect: 100-continue, x"], 417, id="list of expectations"
        ),
        pytest.param(b"GET / HTTP/1.1", [HOST, b"X: a\x01b"], 400, id="control character"),
        pytest.param(b"GET / HTTP/1.1", [HOST, b"X: a\x7fb"], 400, id="DEL"),
        pytest.param(b"GET /a#b HTTP/1.1", [HOST], 400, id="fragment"),
        pytest.param(b"GET * HTTP/1.1", [HOST], 400, id="asterisk without OPTIONS"),
        pytest.param(b"GET a/b HTTP/1.1", [HOST], 400, id="relative target"),
        pytest.param(b"GET example.org:80 HTTP/1.1", [HOST], 400, id="authority as target"),
        pytest.param(b"GET ftp://a/ HTTP/1.1", [HOST], 400, id="other scheme"),
        pytest.param(b"GET http:///x HTTP/1.1", [HOST], 400, id="absolute without authority"),
        pytest.param(b"GET http://u@h/ HTTP/1.1", [HOST], 400, id="user in authority"),
        pytest.param(b"GET http://a:99999/ HTTP/1.1", [HOST], 400, id="port in authority"),
        pytest.param(b"GET http://[::g]/ HTTP/1.1", [HOST], 400, id="no IPv6 in authority"),
        pytest.param(b"GET http://a,b/ HTTP/1.1", [HOST], 400, id="comma in authority"),
        pytest.param(b"GET http://:80/ HTTP/1.1", [HOST], 400, id="port alone in authority"),
        pytest.param(b"GET http://a/ HTTP/1.1", [b"Host: u@b"], 400, id="user in unused Host"),
        pytest.param(b"OPTIONS http://a#b HTTP/1.1", [HOST], 400, id="fragment of an authority"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: a:65536"], 400, id="port above 65535"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: a:000080"], 400, id="port of six digits"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: a:-1"], 400, id="negative port"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: a:80:80"], 400, id="two ports"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: :80"], 400, id="port alone"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: ::1"], 400, id="IPv6 without brackets"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: [1:2]"], 400, id="no IPv6 in brackets"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: [127.0.0.1]"], 400, id="IPv4 in brackets"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: [fe80::1%eth0]"], 400, id="IPv6 zone"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: [v1.a]"], 400, id="future address"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: a%zz"], 400, id="bad escape in Host"),
        pytest.param(b"GET / HTTP/1.1", [b'Host: a"b'], 400, id="quote in Host"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: a b"], 400, id="space in Host"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: a/b"], 400, id="path in Host"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: u@a"], 400, id="user in Host"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: a:b"], 400, id="no port in Host"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: a, b"], 400, id="two hosts in Host"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: [::1"], 400, id="open bracket in Host"),
        pytest.param(b"GET / HTTP/1.1", [b"Host: \xc3\xa4"], 400, id="UTF-8 in Host"),
        pytest.param(b"GET / HTTP/1.0", [HOST, HOST], 400, id="two Hosts in HTTP/1.0"),
    ],
)
def test_refused(first: bytes, lines: list[bytes], status: int) -> None:
    with pytest.raises(ClientError) as caught:
        request(*lines, first=first)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "host",
    [
        "a",
        "a:80",
        "a:0",
        "a:65535",
        "a:",
        "a.b-c_d~",
        "a%20b",
        "[::1]",
        "[::1]:8080",
        "[::ffff:1.2.3.4]",
        "127.0.0.1:1",
        "xn--4ca.example",
    ],
)
def test_hosts(host: str) -> None:
    assert request(b"Host: " + host.encode()).host == host.encode()


def test_http_1_0_needs_no_host() -> None:
    admitted = request(first=b"GET / HTTP/1.0")
    assert (admitted.host, admitted.version) == (None, b"1.0")


@pytest.mark.parametrize(
    ("target", "admitted", "host"),
    [
        (b"/a//b/../c?d=e&f=%20?", b"/a//b/../c?d=e&f=%20?", b"example.org"),
        (b"//double/slash", b"//double/slash", b"example.org"),
        (b"/a:b@c", b"/a:b@c", b"example.org"),
        (b"http://other/x?y", b"/x?y", b"other"),
        (b"HTTP://other:8080/x", b"/x", b"other:8080"),
        (b"https://other", b"/", b"other"),
        (b"http://other?q", b"/?q", b"other"),
        (b"http://[::1]:80/", b"/", b"[::1]:80"),
        (b"http://other:/", b"/", b"other:"),
    ],
)
def test_targets(target: bytes, admitted: bytes, host: bytes) -> None:
    got = request(HOST, first=b"GET %b HTTP/1.1" % target)
    assert (got.target, got.host) == (admitted, host)


def test_targets_of_options() -> None:
    assert request(HOST, first=b"OPTIONS * HTTP/1.1").target == b"*"
    everything = request(HOST, first=b"OPTIONS http://other HTTP/1.1")
    assert (everything.target, everything.host) == (b"*", b"other")
    assert request(HOST, first=b"OPTIONS http://other/ HTTP/1.1").target == b"/"


def test_what_ends_at_this_hop_is_left_out() -> None:
    admitted = request(
        HOST,
        b"A: 1",
        b"Connection: keep-alive, X-One",
        b"connection: x-TWO ,, ,",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"TE: gzip",
        b"Upgrade: websocket",
        b"Proxy-Authorization: Basic eDp5",
        b"Proxy: http://evil/",
        b"X-One: 1",
        b"x-one: 2",
        b"X-Two: 3",
        b"X-Three: 4",
    )
    assert admitted.lines == [(b"A", b"1"), (b"X-Three", b"4")]


def test_connection_cannot_name_away_what_matters() -> None:
    admitted = request(
        HOST,
        b"Connection: host, content-length, via, x-request-id, x-forwarded-for",
        b"Content-Length: 3",
        b"Via: 1.1 other",
        b"X-Request-ID: abc",
        first=b"POST / HTTP/1.1",
    )
    assert admitted.host == b"example.org"
    assert admitted.framing == of_length(3)
    assert admitted.via == b"1.1 other"
    assert admitted.request_id == b"abc"


def test_connection_cannot_name_away_what_is_for_the_far_end() -> None:
    lines = [
        b"Authorization: Basic eDp5", b"Cookie: a=b", b"Cache-Control: no-store",
        b"Content-Type: text/plain", b"Range: bytes=0-1", b"If-Match: x", b"Origin: null",
    ]  # fmt: skip
    names = b", ".join(line.partition(b":")[0].lower() for line in lines)
    admitted = request(HOST, b"Connection: close, x-one, " + names, b"X-One: 1", *lines)
    assert [name + b": " + value for name, value in admitted.lines] == lines


def test_twins_of_what_this_hop_says_itself_are_dropped() -> None:
    names = (
        b"X_Forwarded_For", b"x_forwarded-HOST", b"X-Real_IP", b"X_Request_ID", b"Keep_Alive",
        b"Proxy_Authorization", b"Max_Forwards",
    )  # fmt: skip
    kept = b"X_Other: 1"
    admitted = request(HOST, *(name + b": forged" for name in names), kept)
    assert (admitted.lines, admitted.request_id) == ([(b"X_Other", b"1")], None)


@pytest.mark.parametrize("name", [b"Content_Length", b"transfer_encoding", b"CONTENT_LENGTH"])
def test_twins_of_framing_are_refused(name: bytes) -> None:
    with pytest.raises(ClientError, match="underscore"):
        request(HOST, name + b": 5")


@pytest.mark.parametrize(
    ("first", "value", "sent"),
    [
        (b"OPTIONS / HTTP/1.1", b"1", b"0"),
        (b"TRACE / HTTP/1.1", b"10", b"9"),
        (b"OPTIONS * HTTP/1.1", b"007", b"6"),
        (b"GET / HTTP/1.1", b"0", b"0"),
        (b"GET / HTTP/1.1", b"many", b"many"),
    ],
)
def test_max_forwards_counts_down(first: bytes, value: bytes, sent: bytes) -> None:
    lines = request(HOST, b"A: b", b"Max-Forwards: " + value, first=first).lines
    assert lines == [(b"A", b"b"), (b"Max-Forwards", sent)]


@pytest.mark.parametrize(("method", "status"), [(b"OPTIONS", 200), (b"TRACE", 501)])
def test_max_forwards_ends_here(method: bytes, status: int) -> None:
    with pytest.raises(AnsweredHere) as caught:
        request(HOST, b"Max-Forwards: 0", first=method + b" / HTTP/1.1")
    assert caught.value.status == status


@pytest.mark.parametrize("value", [b"", b"-1", b"+1", b"1, 2", b"1.0", b"x", b"1" * 10])
def test_max_forwards_that_is_no_number(value: bytes) -> None:
    with pytest.raises(ClientError, match="Max-Forwards"):
        request(HOST, b"Max-Forwards: " + value, first=b"OPTIONS / HTTP/1.1")
    with pytest.raises(ClientError, match="Max-Forwards"):
        request(HOST, *[b"Max-Forwards: 1"] * 2, first=b"TRACE / HTTP/1.1")


@pytest.mark.parametrize("framing", [b"Content-Length: 1", b"Transfer-Encoding: chunked"])
def test_a_trace_has_no_body(framing: bytes) -> None:
    with pytest.raises(ClientError, match="TRACE"):
        request(HOST, framing, first=b"TRACE / HTTP/1.1")
    assert request(HOST, b"Content-Length: 0", first=b"TRACE / HTTP/1.1").method == b"TRACE"


def test_claims_about_identity_are_dropped() -> None:
    names = (
        b"Forwarded", b"X-Forwarded-For", b"x-forwarded-HOST", b"X-Forwarded-Port",
        b"X-Forwarded-Proto", b"X-Forwarded-Server", b"X-Real-IP",
    )  # fmt: skip
    assert request(HOST, *(name + b": forged" for name in names)).lines == []


def test_order_case_and_duplicates_are_kept() -> None:
    lines = [(b"b", b"1"), (b"A", b"2"), (b"COOKIE", b"x=1"), (b"cookie", b"y=2"), (b"b", b"")]
    assert request(HOST, *(name + b": " + value for name, value in lines)).lines == lines


def test_several_vias_become_one() -> None:
    assert request(HOST, b"Via: 1.0 a, 1.1 b", b"Via: 1.1 c").via == b"1.0 a, 1.1 b, 1.1 c"


@pytest.mark.parametrize(
    ("line", "request_id"),
    [
        (b"X-Request-ID: 0a-Z._~+/=:9", b"0a-Z._~+/=:9"),
        (b"X-Request-ID: " + b"a" * 128, b"a" * 128),
        (b"X-Request-ID: " + b"a" * 129, None),
        (b"X-Request-ID: a b", None),
        (b"X-Request-ID: <script>", None),
        (b"X-Request-ID: \xe4", None),
        (b"X-Request-ID:", None),
    ],
)
def test_request_ids(line: bytes, request_id: bytes | None) -> None:
    admitted = request(HOST, line)
    assert (admitted.request_id, admitted.lines) == (request_id, [])


def test_bodies() -> None:
    assert request(HOST).framing is NO_BODY
    empty = request(HOST, b"Content-Length: 0", first=b"POST / HTTP/1.1")
    assert empty.framing == of_length(0) != NO_BODY
    sized = request(HOST, b"Content-Length: 12", first=b"POST / HTTP/1.0")
    assert sized.framing == of_length(12)
    chunked = request(HOST, b"Transfer-Encoding: Chunked", first=b"POST / HTTP/1.1")
    assert chunked.framing is CHUNKED
    assert sized.lines == chunked.lines == []


def test_a_declared_body_over_the_limit() -> None:
    head = parse(HOST, b"Content-Length: 11", first=b"POST / HTTP/1.1")
    assert admit(head, 11).framing == of_length(11)
    with pytest.raises(ClientError) as caught:
        admit(head, 10)
    assert caught.value.status == 413


def test_expecting_100() -> None:
    line = b"Expect: 100-Continue"
    length = b"Content-Length: 1"
    assert request(HOST, line, length, first=b"POST / HTTP/1.1").expects_continue
    assert not request(line, length, first=b"POST / HTTP/1.0").expects_continue
    assert not request(HOST, length, first=b"POST / HTTP/1.1").expects_continue


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"TE: trailers", True),
        (b"TE: gzip , Trailers", True),
        (b"TE: gzip", False),
        (b"TE: trailersx", False),
        (b"TE:", False),
    ],
)
def test_wanting_trailers(line: bytes, wanted: bool) -> None:
    assert request(HOST, b"Connection: TE", line).wants_trailers is wanted


def test_accept_is_remembered_and_passed_on() -> None:
    admitted = request(HOST, b"Accept: text/html")
    assert admitted.accept == b"text/html"
    assert admitted.lines == [(b"Accept", b"text/html")]


@pytest.mark.parametrize(
    ("method", "idempotent"),
    [
        ("GET", 1),
        ("HEAD", 1),
        ("PUT", 1),
        ("DELETE", 1),
        ("OPTIONS", 1),
        ("TRACE", 1),
        ("POST", 0),
        ("PATCH", 0),
        ("get", 0),
        ("PROPFIND", 0),
    ],
)
def test_which_methods_may_be_sent_twice(method: str, idempotent: int) -> None:
    admitted = request(HOST, first=f"{method} / HTTP/1.1".encode())
    assert admitted.idempotent is bool(idempotent)
    assert admitted.method == method.encode()


def test_no_refusal_repeats_what_the_client_sent() -> None:
    for line in (b"Host: <script>", b"X: \x01<script>", b"Expect: <script>"):
        with pytest.raises(ClientError) as caught:
            request(*([] if line.startswith(b"Host") else [HOST]), line)
        assert "script" not in caught.value.reason


def test_an_offer_of_another_protocol() -> None:
    offer = (b"Connection: keep-alive, Upgrade, HTTP2-Settings", b"Upgrade: h2c, websocket")
    admitted = request(HOST, *offer, b"HTTP2-Settings: AAMA", b"Sec-WebSocket-Key: x")
    assert admitted.upgrade == (b"websocket",)
    assert admitted.lines == [(b"Sec-WebSocket-Key", b"x")]
    assert not admitted.idempotent  # it may have begun a conversation
    assert request(HOST, b"Connection: Upgrade", b"Upgrade: h2c").idempotent
    assert request(*offer, first=b"GET / HTTP/1.0").upgrade == ()
