"""The heads that go on."""

from __future__ import annotations

import pytest

from trio_lb.http.admission import AdmittedRequest
from trio_lb.http.forwarding import (
    request_lines,
    request_target,
    response_lines,
    switching_lines,
    trailer_lines,
)
from trio_lb.http.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, of_length
from trio_lb.http.heads import FieldLine, ResponseHead, find
from trio_lb.http.identity import ClientIdentity
from trio_lb.http.proxy_protocol import ProxyHeader

CLIENT = ClientIdentity("192.0.2.7", [(b"X-Real-IP", b"192.0.2.7")], ProxyHeader())
PLAIN = AdmittedRequest(
    method=b"GET",
    target=b"/",
    version=b"1.1",
    host=b"example.org",
    lines=[(b"B", b"1"), (b"a", b"2")],
    via=None,
    framing=NO_BODY,
    expects_continue=False,
    wants_trailers=False,
    request_id=None,
    accept=None,
)


def sent(request: AdmittedRequest) -> list[FieldLine]:
    """The field lines that a server gets of a request."""
    return request_lines(request, CLIENT, b"id-1", b"127.0.0.1:3001")


def test_a_plain_request() -> None:
    assert sent(PLAIN) == [
        (b"Host", b"example.org"),
        (b"B", b"1"),
        (b"a", b"2"),
        (b"Via", b"1.1 trio-lb"),
        (b"X-Real-IP", b"192.0.2.7"),
        (b"X-Request-ID", b"id-1"),
    ]


def test_without_host_the_servers_own_is_sent() -> None:
    lines = dict(sent(PLAIN._replace(host=None, version=b"1.0")))
    assert lines[b"Host"] == b"127.0.0.1:3001"
    assert lines[b"Via"] == b"1.0 trio-lb"


def test_via_is_added_to() -> None:
    assert dict(sent(PLAIN._replace(via=b"1.0 a, 1.1 b")))[b"Via"] == b"1.0 a, 1.1 b, 1.1 trio-lb"


def test_framing_is_exactly_one() -> None:
    for request, line in (
        (PLAIN._replace(framing=of_length(0)), (b"Content-Length", b"0")),
        (PLAIN._replace(framing=of_length(17)), (b"Content-Length", b"17")),
        (PLAIN._replace(framing=CHUNKED), (b"Transfer-Encoding", b"chunked")),
    ):
        framing = {b"Content-Length", b"Transfer-Encoding"}
        assert [each for each in sent(request) if each[0] in framing] == [line]


def test_expectation_and_trailers_are_said_anew() -> None:
    assert (b"Expect", b"100-continue") in sent(PLAIN._replace(expects_continue=True))
    lines = sent(PLAIN._replace(wants_trailers=True))
    assert (b"TE", b"trailers") in lines
    assert (b"Connection", b"TE") in lines


@pytest.mark.parametrize(
    ("target", "prefix", "joined"),
    [
        (b"/", b"", b"/"),
        (b"/a?b", b"/app", b"/app/a?b"),
        (b"/a", b"/app/", b"/app/a"),
        (b"//a", b"/app", b"/app//a"),
        (b"*", b"/app", b"*"),
    ],
)
def test_a_server_below_a_path(target: bytes, prefix: bytes, joined: bytes) -> None:
    assert request_target(target, prefix) == joined


def response(*lines: FieldLine, version: bytes = b"1.1") -> list[FieldLine]:
    """The field lines that a client gets of a response."""
    fields = [(name, name.lower(), value) for name, value in lines]
    return response_lines(ResponseHead(200, b"OK", version, fields, UNTIL_CLOSE))


def test_a_response_keeps_order_case_and_duplicates() -> None:
    lines = [
        (b"Set-Cookie", b"a=1"),
        (b"x", b"2"),
        (b"SET-COOKIE", b"b=2"),
        (b"Content-Length", b"3"),
    ]
    assert response(*lines) == [*lines, (b"Via", b"1.1 trio-lb")]


def test_a_response_loses_what_ends_at_this_hop() -> None:
    lines = response(
        (b"Connection", b"close, X-Private"),
        (b"Keep-Alive", b"timeout=5"),
        (b"X-Private", b"1"),
        (b"Upgrade", b"h2c"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Trailer", b"X-Sum"),
        (b"Via", b"1.1 inner"),
        version=b"1.0",
    )
    assert lines == [(b"Trailer", b"X-Sum"), (b"Via", b"1.1 inner, 1.0 trio-lb")]


def test_connection_of_a_response_names_nothing_away_that_is_for_the_client() -> None:
    lines = [(b"Set-Cookie", b"a=1"), (b"Content-Type", b"text/html"), (b"Cache-Control", b"x")]
    named = (b"Connection", b"set-cookie, Content-Type, cache-control, x-private")
    assert response(named, *lines, (b"X-Private", b"1"))[:-1] == lines


def test_content_length_of_a_response_survives_where_it_may_be() -> None:
    length = (b"Content-Length", b"3")
    fields = [
        (b"Connection", b"connection", b"content-length"),
        (length[0], b"content-length", length[1]),
    ]
    for status in (200, 304, 413):
        assert length in response_lines(ResponseHead(status, b"", b"1.1", fields, NO_BODY))
    for status in (102, 103, 204):  # RFC 9110 section 8.6
        assert length not in response_lines(ResponseHead(status, b"", b"1.1", fields, NO_BODY))


def test_trailers_cannot_say_again_what_heads_decide() -> None:
    kept = [(b"X-Checksum", b"1"), (b"Server-Timing", b"a;dur=1")]
    forged = (
        b"Content-Length", b"Transfer-Encoding", b"Host", b"connection", b"X-Forwarded-For",
        b"x-real-ip", b"Forwarded", b"X-Request-ID", b"Via", b"TE", b"Expect", b"X_Real_IP",
        b"content_length", b"Proxy-Authorization",
    )  # fmt: skip
    assert trailer_lines([kept[0], *((name, b"x") for name in forged), kept[1]]) == kept


def test_find_gives_the_first() -> None:
    fields = [(b"A", b"a", b"1"), (b"a", b"a", b"2")]
    assert find(fields, b"a") == b"1"
    assert find(fields, b"b") is None


def test_an_offer_is_written_anew() -> None:
    lines = sent(PLAIN._replace(upgrade=(b"websocket", b"other/2")))
    assert [line for line in lines if line not in sent(PLAIN)] == [
        (b"Upgrade", b"websocket, other/2"),
        (b"Connection", b"Upgrade"),
    ]
    lines = sent(PLAIN._replace(upgrade=(b"websocket",), wants_trailers=True))
    assert (b"Connection", b"TE, Upgrade") in lines


def test_a_101_is_written_anew() -> None:
    head = ResponseHead(
        101,
        b"Switching Protocols",
        b"1.1",
        [
            (b"upgrade", b"upgrade", b"a"),
            (b"Connection", b"connection", b"upgrade, X-Private"),
            (b"X-Private", b"x-private", b"1"),
            (b"Content-Length", b"content-length", b"0"),
            (b"Sec-WebSocket-Accept", b"sec-websocket-accept", b"x="),
            (b"Upgrade", b"upgrade", b"b"),
        ],
        NO_BODY,
    )
    assert switching_lines(head) == [
        (b"Sec-WebSocket-Accept", b"x="),
        (b"Via", b"1.1 trio-lb"),
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"a, b"),
    ]
