"""Heads of responses: status lines, field syntax, framing, size; what would split a response."""

from __future__ import annotations

from tests.gateway.cases import (
    ResponseCase,
    Then,
    bad_gateway,
    get,
    message,
    octets,
    ok,
    passed,
    spent,
)

STATUS_LINE = "9112 4"
COLON = "9112 5.1"
FOLD = "9112 5.2"
LF = "9112 2.2"
VALUE = "9110 5.5"
SPLIT = "response splitting"
LENGTH = "9112 6.3 (5)"
BOTH = "9112 6.1"
CODING = "9112 6.1"
CONNECTION = "9110 7.6.1"

HELLO = "Content-Length: 5"


def hello(*fields: str, line: str = "HTTP/1.1 200 OK") -> bytes:
    """A response that is good but for its first line, or these field lines."""
    return ok(HELLO, *fields, body="hello", line=line)


def bad_line(name: str, line: str) -> ResponseCase:
    """A status line that is none."""
    return bad_gateway(f"line-{name}", STATUS_LINE, hello(line=line))


def bad_field(name: str, rfc: str, line: str) -> ResponseCase:
    """A field line that spoils its response."""
    return bad_gateway(f"field-{name}", rfc, hello("X: y", line, "Y: y"))


def bad_framing(name: str, rfc: str, *lines: str, version: str = "1.1") -> ResponseCase:
    """Framing that is unclear, over a body that hides a response."""
    raw = ok(*lines, body="0\r\n\r\n", line=f"HTTP/{version} 200 OK") + hello()
    return bad_gateway(f"framing-{name}", rfc, raw)


LINE_CASES = [
    passed("status", STATUS_LINE, hello(), "hello"),
    passed("reason-empty", STATUS_LINE, hello(line="HTTP/1.1 200 "), "hello"),
    passed("reason-missing", "common, and harmless", hello(line="HTTP/1.1 200"), "hello"),
    passed("reason-of-high-bits", STATUS_LINE, hello(line="HTTP/1.1 200 \xe9t\xe9"), "hello"),
    passed("reason-with-a-tab", STATUS_LINE, hello(line="HTTP/1.1 200 O\tK"), "hello"),
    passed("status-nobody-knows", "9110 15", hello(line="HTTP/1.1 299 ?"), "hello", status=299),
    passed("status-599", "9110 15", hello(line="HTTP/1.1 599 ?"), "hello", status=599),
    passed(
        "status-500-is-an-answer", "9110 15.6", hello(line="HTTP/1.1 500 ?"), "hello", status=500
    ),
    bad_line("status-600", "HTTP/1.1 600 ?"),
    bad_line("status-999", "HTTP/1.1 999 ?"),
    bad_line("status-099", "HTTP/1.1 099 ?"),
    bad_line("status-000", "HTTP/1.1 000 ?"),
    bad_line("status-of-two-digits", "HTTP/1.1 20 OK"),
    bad_line("status-of-four-digits", "HTTP/1.1 2000 OK"),
    bad_line("status-signed", "HTTP/1.1 +20 OK"),
    bad_line("status-of-letters", "HTTP/1.1 abc OK"),
    bad_line("status-empty", "HTTP/1.1  OK"),
    bad_line("two-spaces", "HTTP/1.1  200 OK"),
    bad_line("tab", "HTTP/1.1\t200 OK"),
    bad_line("space-before", " HTTP/1.1 200 OK"),
    bad_line("in-lower-case", "http/1.1 200 OK"),
    bad_line("http-2.0", "HTTP/2.0 200 OK"),
    bad_line("http-0.9", "HTTP/0.9 200 OK"),
    bad_line("version-11", "HTTP/11 200 OK"),
    bad_line("icy", "ICY 200 OK"),
    bad_line("nul", "HTTP/1.1 200 O\0K"),
    bad_line("bare-cr", "HTTP/1.1 200 O\rK"),
    bad_line("escape", "HTTP/1.1 200 \x1b[31mOK"),
    bad_gateway("http-0.9-body", "9112 2.3", octets("<html>hello</html>"), then=Then.CLOSE),
    bad_gateway("words", "not HTTP", octets("hello\r\n\r\n")),
    bad_gateway("ssh-banner", "not HTTP", octets("SSH-2.0-server\r\n")),
    bad_gateway("a-request", "not a response", get()),
    bad_gateway("bytes", "not HTTP", bytes(range(256)), then=Then.CLOSE),
    bad_gateway("empty-line-first", "not allowed before a response", b"\r\n" + hello()),
    bad_gateway("no-answer", "9112 8", b"", then=Then.CLOSE),
    bad_gateway("no-answer-by-reset", "9112 8", b"", then=Then.RESET),
    bad_gateway("a-cut-status-line", "9112 8", octets("HTTP/1.1 20"), then=Then.CLOSE),
    bad_gateway("a-cut-head", "9112 8", octets("HTTP/1.1 200 OK\r\nX: y\r\n"), then=Then.CLOSE),
]

FIELD_CASES = [
    passed("value-with-space-around", COLON, hello("X: \t y \t"), "hello", fields={"x": "y"}),
    passed("value-empty", VALUE, hello("X:"), "hello", fields={"x": ""}),
    passed("value-of-high-bits", VALUE, hello("X: \xe9\xff"), "hello", fields={"x": "\xe9\xff"}),
    passed(
        "cookies-stay-apart",
        "9110 5.3",
        hello("Set-Cookie: b=1, 2", "Set-Cookie: c"),
        "hello",
        fields={"set-cookie": "b=1, 2, c"},
    ),
    passed("fold-becomes-a-space", FOLD, hello("X: y\r\n  z"), "hello", fields={"x": "y z"}),
    passed(
        "fold-that-looks-like-a-field",
        FOLD,
        hello("X: y\r\n Set-Cookie: b"),
        "hello",
        fields={"x": "y Set-Cookie: b", "set-cookie": None},
    ),
    passed(
        "bare-lf-is-a-line-end",
        LF,
        octets("HTTP/1.1 200 OK\nContent-Length: 5\nX: y\n\nhello"),
        "hello",
        fields={"x": "y"},
    ),
    passed(
        "bare-lf-in-a-value-is-a-line-end",
        SPLIT,
        hello("X: y\nSet-Cookie: b"),
        "hello",
        fields={"x": "y", "set-cookie": "b"},
    ),
    bad_field("with-bare-cr", SPLIT, "X: y\rSet-Cookie: b"),
    bad_field("with-two-bare-cr", SPLIT, "X: y\r\rHTTP/1.1 200 OK"),
    bad_field("ending-with-bare-cr", SPLIT, "X: y\r"),
    bad_field("with-nul", VALUE, "X: y\0z"),
    bad_field("with-vertical-tab", VALUE, "X: y\x0bz"),
    bad_field("with-del", VALUE, "X: y\x7f"),
    bad_field("with-escape", VALUE, "X: \x1b]0;z\x07"),
    bad_field("space-before-the-colon", COLON, "X : y"),
    bad_field("tab-before-the-colon", COLON, "X\t: y"),
    bad_field("without-a-colon", "9112 5", "X"),
    bad_field("without-a-name", "9110 5.1", ": y"),
    bad_field("with-a-space-in-its-name", "9110 5.1", "X Y: y"),
    bad_field("with-high-bits-in-its-name", "9110 5.1", "X\xe9: y"),
    bad_field("with-nul-in-its-name", "9110 5.1", "X\0: y"),
    bad_field("with-a-quote-in-its-name", "9110 5.1", '"X": y'),
    bad_gateway(
        "space-before-the-first-field",
        LF,
        octets("HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 5\r\n\r\nhello"),
    ),
    passed("fields-500", "limit", hello(*["X: y"] * 500), "hello"),
    bad_gateway("fields-1100", "limit", hello(*["X: y"] * 1_100)),
    passed("head-of-60000", "limit", hello("X: " + "y" * 60_000), "hello"),
    bad_gateway("head-of-70000", "limit", hello("X: " + "y" * 70_000)),
    bad_gateway("head-of-300000", "limit", hello(*["X: " + "y" * 1_000] * 300)),
    bad_gateway("head-without-end", "limit", octets("HTTP/1.1 200 OK\r\n") + b"X: y\r\n" * 20_000),
    bad_gateway("status-line-without-end", "limit", octets("HTTP/1.1 200 ") + b"O" * 100_000),
]

FRAMING_CASES = [
    passed("lengths-that-agree", LENGTH, hello(HELLO), "hello", fields={"content-length": "5"}),
    passed(
        "lengths-that-agree-in-a-list",
        LENGTH,
        ok("Content-Length: 5, 5", body="hello"),
        "hello",
        fields={"content-length": "5"},
    ),
    bad_framing("lengths-that-differ", LENGTH, "Content-Length: 5", "Content-Length: 0"),
    bad_framing("lengths-that-differ-in-a-list", LENGTH, "Content-Length: 5, 0"),
    bad_framing("length-signed", LENGTH, "Content-Length: +5"),
    bad_framing("length-negative", LENGTH, "Content-Length: -5"),
    bad_framing("length-hexadecimal", LENGTH, "Content-Length: 0x5"),
    bad_framing("length-with-a-space", LENGTH, "Content-Length: 5 5"),
    bad_framing("length-with-an-underscore", LENGTH, "Content-Length: 0_5"),
    bad_framing("length-empty", LENGTH, "Content-Length:"),
    bad_framing("length-in-other-digits", LENGTH, "Content-Length: \xb2"),
    bad_framing("length-2-to-63", LENGTH, f"Content-Length: {2**63}"),
    bad_framing("length-2-to-64-and-5", LENGTH, f"Content-Length: {2**64 + 5}"),
    bad_framing("te-cl", BOTH, "Transfer-Encoding: chunked", "Content-Length: 5"),
    bad_framing("cl-te", BOTH, "Content-Length: 5", "Transfer-Encoding: chunked"),
    bad_framing("te-in-1.0", CODING, "Transfer-Encoding: chunked", version="1.0"),
    bad_framing("length-folded", FOLD, "Content-Length:\r\n 5"),
    bad_framing("coding-folded", FOLD, "Transfer-Encoding:\r\n chunked"),
    bad_framing("coding-gzip", CODING, "Transfer-Encoding: gzip"),
    bad_framing("coding-below-chunked", CODING, "Transfer-Encoding: gzip, chunked"),
    bad_framing("coding-above-chunked", CODING, "Transfer-Encoding: chunked, gzip"),
    bad_framing("coding-twice", CODING, "Transfer-Encoding: chunked, chunked"),
    bad_framing("coding-in-two-fields", CODING, *["Transfer-Encoding: chunked"] * 2),
    bad_framing("coding-identity", CODING, "Transfer-Encoding: identity"),
    bad_framing("coding-xchunked", CODING, "Transfer-Encoding: xchunked"),
    bad_framing("coding-with-vertical-tab", VALUE, "Transfer-Encoding:\x0bchunked"),
    bad_framing("coding-with-a-space-before-the-colon", COLON, "Transfer-Encoding : chunked"),
]

CONNECTION_CASES = [
    spent("connection-close", "9112 9.6", hello("Connection: close"), "hello"),
    spent(
        "connection-close-and-so-it-does",
        "9112 9.6",
        hello("Connection: close"),
        "hello",
        then=Then.CLOSE,
    ),
    spent("closes-without-a-word", "9112 9.6", hello(), "hello", then=Then.CLOSE),
    spent("http-1.0", "9112 9.3", hello(line="HTTP/1.0 200 OK"), "hello", then=Then.CLOSE),
    passed(
        "connection-names-a-field",
        CONNECTION,
        hello("X: y", "Connection: x", "Keep-Alive: 5", "Upgrade: h2c", "Y: y"),
        "hello",
        fields={"x": None, "y": "y"},
    ),
    passed(
        "connection-names-content-length",
        CONNECTION,
        hello("Connection: Content-Length"),
        "hello",
        fields={"content-length": "5"},
    ),
    passed("proxy-authenticate-ends-here", "9110 11.7.1", hello("Proxy-Authenticate: x"), "hello"),
    passed("trailer-goes-on", "9110 6.6.2", hello("Trailer: X"), "hello", fields={"trailer": "X"}),
    passed(
        "via-is-added-to",
        "9110 7.6.3",
        hello("Via: 1.0 b"),
        "hello",
        fields={"via": "1.0 b, 1.1 trio-lb"},
    ),
    passed("a-head-alone", STATUS_LINE, message("HTTP/1.1 204 No Content"), status=204),
]

CASES = [*LINE_CASES, *FIELD_CASES, *FRAMING_CASES, *CONNECTION_CASES]
