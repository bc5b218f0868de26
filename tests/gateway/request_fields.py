"""Field lines of requests: their syntax, what ends at this hop, and what only we may say."""

from __future__ import annotations

import re

from tests.gateway.cases import (
    CLIENT,
    RequestCase,
    answered,
    chunked,
    forwarded,
    get,
    last,
    octets,
    post,
    refused,
    saw,
)

LINE = "9112 5"
COLON = "9112 5.1"
VALUE = "9110 5.5"
NAME = "9110 5.1"
FOLD = "9112 5.2"
LF = "9112 2.2"
CONNECTION = "9110 7.6.1"
IDENTITY = "7239 8.1"
TWIN = "CGI makes one name of - and _"


def kept(name: str, rfc: str, line: str, value: str) -> RequestCase:
    """A field that goes on, with this value."""
    key = line.split(":")[0].lower()
    return forwarded(name, rfc, get(line), saw(fields={key: value}))


def gone(name: str, rfc: str, *lines: str, without: str) -> RequestCase:
    """A field that doesn't go on, while the request does."""
    return forwarded(name, rfc, get(*lines, "Y: y"), saw(fields={without: None, "y": "y"}))


def bad(name: str, rfc: str, line: str) -> RequestCase:
    """A field line that spoils its request."""
    return refused(name, rfc, get("X: y", line, "Y: y"))


SYNTAX_CASES = [
    kept("value-without-a-space", COLON, "X:y", "y"),
    kept("value-with-space-around", COLON, "X: \t y \t ", "y"),
    kept("value-empty", VALUE, "X:", ""),
    kept("value-of-spaces", VALUE, "X:   ", ""),
    kept("value-with-tabs-and-spaces-inside", VALUE, "X: y \t  z", "y \t  z"),
    kept("value-with-colons", VALUE, "X: :y:: z:", ":y:: z:"),
    kept("value-with-high-bits", VALUE, "X: \xe9\xff\x80", "\xe9\xff\x80"),
    kept("value-that-looks-like-a-head", VALUE, "X: GET / HTTP/1.1", "GET / HTTP/1.1"),
    kept("value-with-encoded-line-ends", VALUE, "X: %0d%0aHost: b", "%0d%0aHost: b"),
    kept("name-of-every-token-character", NAME, "!#$%&'*+-.^_`|~09Az: y", "y"),
    kept("name-with-an-underscore", NAME, "X_Custom: y", "y"),
    forwarded("repeated-field", "9110 5.3", get("X: 1", "Y: y", "x: 2"), saw(fields={"x": "1, 2"})),
    bad("space-before-the-colon", COLON, "X : y"),
    bad("tab-before-the-colon", COLON, "X\t: y"),
    bad("space-inside-a-name", NAME, "X Y: y"),
    bad("no-colon", LINE, "X"),
    bad("name-empty", LINE, ": y"),
    bad("name-with-a-slash", NAME, "X/Y: y"),
    bad("name-with-a-parenthesis", NAME, "X(: y"),
    bad("name-in-quotes", NAME, '"X": y'),
    bad("name-with-a-comma", NAME, "X,Y: y"),
    bad("name-with-at", NAME, "X@Y: y"),
    bad("name-with-nul", NAME, "X\0: y"),
    bad("name-with-high-bit", NAME, "X\xe9: y"),
    bad("name-with-del", NAME, "X\x7f: y"),
    bad("value-with-nul", VALUE, "X: y\0z"),
    bad("value-with-bell", VALUE, "X: y\x07z"),
    bad("value-with-backspace", VALUE, "X: y\x08z"),
    bad("value-with-vertical-tab", VALUE, "X: y\x0bz"),
    bad("value-beginning-with-form-feed", VALUE, "X:\x0cy"),
    bad("value-ending-with-vertical-tab", VALUE, "X: y\x0b"),
    bad("value-with-escape", VALUE, "X: \x1b[31m"),
    bad("value-with-del", VALUE, "X: y\x7f"),
    bad("value-with-bare-cr", LF, "X: y\rz"),
    bad("value-with-bare-cr-and-a-field", LF, "X: y\rTransfer-Encoding: chunked"),
    bad("value-with-bare-lf-and-a-field", LF, "X: y\nTransfer-Encoding: chunked"),
    bad("value-ending-with-bare-cr", LF, "X: y\r"),
    bad("bare-lf-before-a-name", LF, "\nX: y"),
    bad("bare-cr-before-a-name", LF, "\rX: y"),
    bad("bare-lf-before-the-colon", LF, "X\n: y"),
    bad("bare-lf-behind-the-colon", LF, "X:\n y"),
    bad("fold-by-a-space", FOLD, "X: y\r\n z"),
    bad("fold-by-a-tab", FOLD, "X: y\r\n\tz"),
    bad("fold-at-once", FOLD, "X:\r\n y"),
    bad("fold-of-nothing-but-space", FOLD, "X: y\r\n "),
    bad("fold-like-a-field", FOLD, "X: y\r\n Transfer-Encoding: chunked"),
    refused(
        "space-before-the-first-field", LF, octets("GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n")
    ),
    refused("head-ended-by-bare-lf", LF, octets("GET / HTTP/1.1\r\nHost: a\r\n\n")),
    refused("head-ended-by-lf-lf", LF, octets("GET / HTTP/1.1\r\nHost: a\n\n")),
    refused("head-ended-by-lf-crlf", LF, octets("GET / HTTP/1.1\r\nHost: a\n\r\n")),
    refused("head-ended-by-cr-cr", LF, octets("GET / HTTP/1.1\r\nHost: a\r\r")),
    refused("head-ended-by-crlf-cr", LF, octets("GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n")),
]

CONNECTION_CASES = [
    last("connection-close", "9112 9.6", get("Connection: close")),
    last("connection-close-in-capitals", "9112 9.6", get("Connection: CLOSE")),
    last("connection-close-beside-keep-alive", "9112 9.3", get("Connection: keep-alive, close")),
    last(
        "connection-close-in-a-second-field", "9112 9.3", get("Connection: x", "Connection: close")
    ),
    forwarded("connection-keep-alive", "9112 9.3", get("Connection: keep-alive")),
    gone("connection-names-a-field", CONNECTION, "X: y", "Connection: X", without="x"),
    gone("connection-names-a-later-field", CONNECTION, "Connection: x", "X: y", without="x"),
    gone("connection-names-in-a-list", CONNECTION, "Connection: ,, z ,X,", "X: y", without="x"),
    gone(
        "connection-names-every-such-field",
        CONNECTION,
        "X: 1",
        "Connection: x",
        "X: 2",
        without="x",
    ),
    forwarded("connection-names-host", CONNECTION, get("Connection: Host"), saw()),
    forwarded(
        "connection-names-content-length",
        CONNECTION,
        post("Content-Length: 5", "Connection: Content-Length", body="hello"),
        saw("POST /", {"content-length": "5"}, body="hello"),
    ),
    forwarded(
        "connection-names-transfer-encoding",
        CONNECTION,
        post(
            "Transfer-Encoding: chunked",
            "Connection: Transfer-Encoding",
            body="5\r\nhello\r\n0\r\n\r\n",
        ),
        saw("POST /", {"transfer-encoding": "chunked"}, body="hello"),
    ),
    forwarded(
        "connection-names-what-we-say-of-the-client",
        "hop-by-hop abuse",
        get("Connection: X-Forwarded-For, X-Real-IP, X-Forwarded-Proto, X-Forwarded-Host"),
        saw(fields={"x-forwarded-for": CLIENT, "x-real-ip": CLIENT, "x-forwarded-host": "a"}),
    ),
    forwarded(
        "connection-names-via-and-request-id",
        "hop-by-hop abuse",
        get("Via: 1.0 b", "X-Request-ID: 7", "Connection: Via, X-Request-ID"),
        saw(fields={"via": "1.0 b, 1.1 trio-lb", "x-request-id": "7"}),
    ),
    forwarded(
        "connection-names-credentials",
        "hop-by-hop abuse",
        get("Authorization: b", "Cookie: c", "Connection: Authorization, Cookie"),
        saw(fields={"authorization": "b", "cookie": "c"}),
    ),
    gone("keep-alive-ends-here", CONNECTION, "Keep-Alive: timeout=9", without="keep-alive"),
    gone(
        "proxy-connection-ends-here",
        "9112 C.2.2",
        "Proxy-Connection: x",
        without="proxy-connection",
    ),
    gone(
        "proxy-credentials-end-here",
        "9110 11.7.1",
        "Proxy-Authorization: x",
        without="proxy-authorization",
    ),
    forwarded(
        "upgrade-that-is-not-taken",
        "9110 7.8: what follows is HTTP",
        get("Connection: Upgrade", "Upgrade: websocket, h2c", f"Sec-WebSocket-Key: {'A' * 22}=="),
        saw(fields={"upgrade": "websocket", "connection": "Upgrade"}),
    ),
    gone("upgrade-alone-is-nothing", "9110 7.8", "Upgrade: websocket", without="upgrade"),
    forwarded(
        "upgrade-to-http-2-is-not-passed-on",
        "9113 3.1: h2c smuggling",
        get(
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQAAP__",
        ),
        saw(fields={"upgrade": None, "http2-settings": None}),
    ),
    last(
        "upgrade-in-1.0",
        "9110 7.8",
        get("Connection: Upgrade", "Upgrade: websocket", version="1.0"),
        saw(fields={"upgrade": None}),
    ),
    last(
        "upgrade-and-close",
        "9112 9.6",
        get("Connection: Upgrade, close", "Upgrade: websocket", f"Sec-WebSocket-Key: {'A' * 22}=="),
        saw(fields={"upgrade": "websocket", "connection": "Upgrade"}),
    ),
    gone("te-of-a-coding", "9110 10.1.4", "TE: gzip", "Connection: TE", without="te"),
    forwarded(
        "te-trailers",
        "9110 10.1.4",
        get("TE: gzip;q=0.5, Trailers", "Connection: TE"),
        saw(fields={"te": "trailers", "connection": "TE"}),
    ),
    kept("trailer-goes-on", "9110 6.6.2", "Trailer: X", "X"),
]

IDENTITY_CASES = [
    forwarded(
        "forged-addresses",
        IDENTITY,
        get("X-Forwarded-For: 10.0.0.1", "X-Real-IP: 10.0.0.1", "X-Forwarded-For: 10.0.0.2"),
        saw(fields={"x-forwarded-for": CLIENT, "x-real-ip": CLIENT}),
    ),
    forwarded(
        "forged-proto-and-host",
        IDENTITY,
        get("X-Forwarded-Proto: https", "X-Forwarded-Host: b", "x-forwarded-HOST: c"),
        saw(fields={"x-forwarded-proto": "http", "x-forwarded-host": "a"}),
    ),
    gone("forged-forwarded", IDENTITY, "Forwarded: for=10.0.0.1", without="forwarded"),
    gone("forged-port", IDENTITY, "X-Forwarded-Port: 443", without="x-forwarded-port"),
    gone("forged-server", IDENTITY, "X-Forwarded-Server: b", without="x-forwarded-server"),
    gone("twin-of-forwarded-for", TWIN, "X_Forwarded_For: b", without="x_forwarded_for"),
    gone("half-a-twin-of-forwarded-for", TWIN, "X-Forwarded_For: b", without="x-forwarded_for"),
    gone("twin-of-real-ip", TWIN, "x_real_ip: b", without="x_real_ip"),
    gone("twin-of-forwarded-proto", TWIN, "X_Forwarded_Proto: https", without="x_forwarded_proto"),
    gone("twin-of-request-id", TWIN, "X_Request_ID: b", without="x_request_id"),
    gone("twin-of-a-hops-field", TWIN, "Keep_Alive: b", without="keep_alive"),
    gone("twin-of-forwarded-host", TWIN, "X_FORWARDED_HOST: b", without="x_forwarded_host"),
    refused("twin-of-content-length", TWIN, post("Content_Length: 5", body="hello")),
    refused(
        "twin-of-content-length-in-a-pair",
        TWIN,
        post("Content-Length: 5", "Content_Length: 0", body="hello"),
    ),
    refused(
        "twin-of-transfer-encoding", TWIN, post("Transfer_Encoding: chunked", body="0\r\n\r\n")
    ),
    refused(
        "twin-of-transfer-encoding-beside-it",
        TWIN,
        chunked("0\r\n\r\n").replace(b"\r\n", b"\r\nTransfer_Encoding: gzip\r\n", 1),
    ),
    forwarded(
        "request-id-that-is-one",
        "ours",
        get("X-Request-ID: aB-1"),
        saw(fields={"x-request-id": "aB-1"}),
    ),
    forwarded(
        "request-id-that-is-none",
        "ours: logs and answers show it",
        get("X-Request-ID: <b> \t\xe9"),
        saw(fields={"x-request-id": re.compile("[0-9a-f-]+")}),
    ),
    gone("proxy-that-cgi-would-obey", "httpoxy", "Proxy: b", without="proxy"),
    forwarded(
        "via-is-added-to",
        "9110 7.6.3",
        get("Via: 1.0 b"),
        saw(fields={"via": "1.0 b, 1.1 trio-lb"}),
    ),
]

EXPECT_CASES = [
    forwarded(
        "expect-continue",
        "9110 10.1.1",
        post("Expect: 100-Continue", "Content-Length: 5", body="hello"),
        saw("POST /", {"expect": "100-continue"}, body="hello"),
    ),
    last(
        "expect-continue-in-1.0",
        "9110 10.1.1",
        post("Expect: 100-continue", "Content-Length: 5", body="hello", version="1.0"),
        saw("POST /", {"expect": None}, body="hello"),
    ),
    refused("expect-something-else", "9110 10.1.1", get("Expect: 200-ok"), 417),
    refused("expect-continue-and-more", "9110 10.1.1", get("Expect: 100-continue, b"), 417),
    refused("expect-with-a-value", "9110 10.1.1", get("Expect: 100-continue=b"), 417),
    forwarded(
        "max-forwards-counts-down",
        "9110 7.6.2",
        get("Max-Forwards: 5", method="OPTIONS"),
        saw("OPTIONS /", {"max-forwards": "4"}),
    ),
    forwarded(
        "max-forwards-counts-down-for-trace",
        "9110 7.6.2",
        get("Max-Forwards: 10", method="TRACE"),
        saw("TRACE /", {"max-forwards": "9"}),
    ),
    forwarded(
        "max-forwards-of-get",
        "9110 7.6.2",
        get("Max-Forwards: 0"),
        saw(fields={"max-forwards": "0"}),
    ),
    answered("max-forwards-of-none", "9110 7.6.2", get("Max-Forwards: 0", method="OPTIONS"), 200),
    refused(
        "max-forwards-of-none-for-trace", "9110 9.3.8", get("Max-Forwards: 0", method="TRACE"), 501
    ),
    refused(
        "max-forwards-twice",
        "9110 7.6.2",
        get("Max-Forwards: 1", "Max-Forwards: 0", method="OPTIONS"),
    ),
    refused("trace-with-a-body", "9110 9.3.8", get("Content-Length: 5", method="TRACE") + b"hello"),
    refused("max-forwards-of-letters", "9110 7.6.2", get("Max-Forwards: x", method="OPTIONS")),
    refused("max-forwards-negative", "9110 7.6.2", get("Max-Forwards: -1", method="TRACE")),
]

LIMIT_CASES = [
    forwarded("fields-100", "limit", get(*["X: y"] * 99), saw(fields={"x": ", ".join("y" * 99)})),
    refused("fields-101", "6585 5", get(*["X: y"] * 100), 431),
    refused("fields-4000", "6585 5", get(*["X:"] * 4_000), 431),
    forwarded(
        "field-of-15000", "limit", get("X: " + "y" * 15_000), saw(fields={"x": "y" * 15_000})
    ),
    refused("field-of-17000", "6585 5", get("X: " + "y" * 17_000), 431),
    refused("field-of-200000", "6585 5", get("X: " + "y" * 200_000), 431),
    refused("name-of-17000", "6585 5", get("X" * 17_000 + ": y"), 431),
    refused(
        "head-without-end",
        "6585 5",
        octets("GET / HTTP/1.1\r\nHost: a\r\n") + b"X: y\r\n" * 10_000,
        431,
    ),
]

CASES = [*SYNTAX_CASES, *CONNECTION_CASES, *IDENTITY_CASES, *EXPECT_CASES, *LIMIT_CASES]
