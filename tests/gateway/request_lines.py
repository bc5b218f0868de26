"""Request lines: methods, spaces, versions, and what isn't HTTP at all."""

from __future__ import annotations

from tests.gateway.cases import forwarded, get, last, message, octets, refused, saw, unfinished

LINES = "9112 3"
TARGETS = "9112 3.2"
METHODS = "9110 9.1"


def line(first: str) -> bytes:
    """A request that is good but for its first line."""
    return message(first, "Host: a")


METHOD_CASES = [
    forwarded("get", LINES, get()),
    forwarded("head", METHODS, get(method="HEAD"), saw("HEAD /")),
    forwarded("put-without-a-body", METHODS, get(method="PUT"), saw("PUT /")),
    forwarded("patch", METHODS, get(method="PATCH"), saw("PATCH /")),
    forwarded("options-of-a-path", METHODS, get(method="OPTIONS"), saw("OPTIONS /")),
    forwarded("trace", "9110 9.3.8", get(method="TRACE"), saw("TRACE /")),
    forwarded("method-nobody-knows", METHODS, get(method="M-SEARCH"), saw("M-SEARCH /")),
    forwarded("method-is-case-sensitive", METHODS, get(method="get"), saw("get /")),
    forwarded(
        "method-of-every-token-character",
        "9110 5.6.2",
        get(method="!#$%&'*+-.^_`|~09AZaz"),
        saw("!#$%&'*+-.^_`|~09AZaz /"),
    ),
    forwarded("method-of-64", "limit", get(method="M" * 64), saw("M" * 64 + " /")),
    refused("method-of-65", "limit", get(method="M" * 65)),
    refused("method-of-10000", "limit", get(method="M" * 10_000)),
    refused("method-empty", LINES, line(" / HTTP/1.1")),
    refused("method-with-a-colon", METHODS, get(method="GE:T")),
    refused("method-with-a-parenthesis", METHODS, get(method="GET(")),
    refused("method-with-a-quote", METHODS, get(method='"GET"')),
    refused("method-with-nul", METHODS, get(method="GE\0T")),
    refused("method-with-high-bit", METHODS, get(method="G\xc5T")),
    refused("connect-to-an-authority", "9110 9.3.6", get(method="CONNECT", target="a:443"), 501),
    refused("connect-to-a-path", "9110 9.3.6", get(method="CONNECT"), 501),
]

TARGET_CASES = [
    forwarded("target-with-a-query", TARGETS, get(target="/b/c?d=e&f"), saw("GET /b/c?d=e&f")),
    forwarded("target-of-two-queries", TARGETS, get(target="/?b?c"), saw("GET /?b?c")),
    forwarded("target-is-not-tidied", "9110 7.7", get(target="//b/./../c"), saw("GET //b/./../c")),
    forwarded(
        "target-stays-encoded",
        "9110 7.7",
        get(target="/%2e%2E/%00%0d%0a%20HTTP/1.1"),
        saw("GET /%2e%2E/%00%0d%0a%20HTTP/1.1"),
    ),
    forwarded(
        "target-of-odd-characters",
        "common, and one to all parsers",
        get(target="/!$&'()*+,;=:@~-._\"<>[]^`{|}\\"),
        saw("GET /!$&'()*+,;=:@~-._\"<>[]^`{|}\\"),
    ),
    forwarded("target-like-a-url", TARGETS, get(target="/http://b/"), saw("GET /http://b/")),
    forwarded("target-of-8192", "limit", get(target="/" + "b" * 8191), saw("GET /" + "b" * 8191)),
    refused("target-of-8193", "9112 3 (414)", get(target="/" + "b" * 8192), 414),
    refused("target-without-end", "9112 3 (414)", octets("GET /" + "b" * 20_000), 414),
    refused("target-with-a-fragment", TARGETS, get(target="/b#c")),
    refused("target-with-a-space", LINES, get(target="/b c")),
    refused("target-with-a-tab", LINES, get(target="/b\tc")),
    refused("target-with-nul", LINES, get(target="/b\0c")),
    refused("target-with-del", LINES, get(target="/b\x7fc")),
    refused("target-with-escape", LINES, get(target="/\x1b[2J")),
    refused("target-with-high-bit", "3986 2", get(target="/\xe9")),
    refused("target-with-nbsp", "3986 2", get(target="/b\xa0c")),
    refused("target-with-vertical-tab", LINES, get(target="/b\x0bc")),
    refused("target-with-bare-cr", LINES, get(target="/b\rc")),
    refused("target-relative", "9112 3.2.1", get(target="b/c")),
    refused("target-empty", LINES, line("GET  HTTP/1.1")),
    refused("target-of-a-query-alone", "9112 3.2.1", get(target="?b=c")),
    refused("target-of-an-authority", "9112 3.2.3", get(target="a:80")),
    refused("target-of-a-backslash", "9112 3.2.1", get(target="\\b")),
    forwarded(
        "asterisk-of-options", "9112 3.2.4", get(method="OPTIONS", target="*"), saw("OPTIONS *")
    ),
    refused("asterisk-of-get", "9112 3.2.4", get(target="*")),
    refused("asterisk-and-more", "9112 3.2.4", get(method="OPTIONS", target="*/b")),
]

SPACE_CASES = [
    refused("two-spaces-before-target", LINES, line("GET  / HTTP/1.1")),
    refused("two-spaces-before-version", LINES, line("GET /  HTTP/1.1")),
    refused("space-before-method", LINES, line(" GET / HTTP/1.1")),
    refused("space-behind-version", LINES, line("GET / HTTP/1.1 ")),
    refused("tab-behind-version", LINES, line("GET / HTTP/1.1\t")),
    refused("tab-before-target", LINES, line("GET\t/ HTTP/1.1")),
    refused("tab-before-version", LINES, line("GET /\tHTTP/1.1")),
    refused("vertical-tab-before-version", LINES, line("GET /\x0bHTTP/1.1")),
    refused("form-feed-before-target", LINES, line("GET\x0c/ HTTP/1.1")),
    refused("bare-cr-before-version", LINES, line("GET /\rHTTP/1.1")),
    refused("nbsp-before-version", LINES, line("GET /\xa0HTTP/1.1")),
    refused("bare-lf-behind-the-line", "9112 2.2", octets("GET / HTTP/1.1\nHost: a\r\n\r\n")),
    refused("bare-cr-behind-the-line", "9112 2.2", octets("GET / HTTP/1.1\rHost: a\r\n\r\n")),
    refused("cr-cr-lf-behind-the-line", "9112 2.2", octets("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n")),
    refused("bare-lf-everywhere", "9112 2.2", octets("GET / HTTP/1.1\nHost: a\n\n")),
    forwarded("empty-line-before", "9112 2.2", octets("\r\n") + get()),
    refused("two-empty-lines-before", "one is robustness, more is noise", b"\r\n\r\n" + get()),
    refused("bare-lf-before", "9112 2.2", b"\n" + get()),
    refused("bare-cr-before", "9112 2.2", b"\r" + get()),
    refused("nul-before", LINES, b"\0" + get()),
    refused("byte-order-mark-before", LINES, b"\xef\xbb\xbf" + get()),
    forwarded(
        "empty-line-between-two",
        "9112 2.2",
        get(target="/1") + b"\r\n" + get(target="/2"),
        saw("GET /1"),
        saw("GET /2"),
    ),
]

VERSION_CASES = [
    last("http-1.0", "9112 2.3", get(version="1.0")),
    refused("http-1.2", "9110 15.6.6", line("GET / HTTP/1.2"), 505),
    refused("http-2.0", "9110 15.6.6", line("GET / HTTP/2.0"), 505),
    refused("http-0.9-by-name", "9112 2.3", line("GET / HTTP/0.9")),
    refused("http-9.9", "9110 15.6.6", line("GET / HTTP/9.9"), 505),
    refused("http-2-preface", "9113 3.4", octets("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505),
    refused("http-0.9", "9112 2.3", octets("GET /\r\n\r\n")),
    refused("http-0.9-with-fields", "9112 2.3", line("GET /")),
    refused("version-empty", "9112 2.3", line("GET / ")),
    refused("version-in-lower-case", "9112 2.3", line("GET / http/1.1")),
    refused("version-1.10", "9112 2.3", line("GET / HTTP/1.10")),
    refused("version-01.1", "9112 2.3", line("GET / HTTP/01.1")),
    refused("version-1", "9112 2.3", line("GET / HTTP/1")),
    refused("version-11", "9112 2.3", line("GET / HTTP/11")),
    refused("version-with-a-comma", "9112 2.3", line("GET / HTTP/1,1")),
    refused("version-with-a-letter", "9112 2.3", line("GET / HTTP/1.1x")),
    refused("version-with-nul", "9112 2.3", line("GET / HTTP/1.1\0")),
    refused("version-with-a-space", "9112 2.3", line("GET / HTTP /1.1")),
    refused("version-of-https", "9112 2.3", line("GET / HTTPS/1.1")),
    refused("version-of-icy", "9112 2.3", line("GET / ICY/1.1")),
    refused("version-twice", LINES, line("GET / HTTP/1.1 HTTP/1.1")),
    refused("version-in-other-digits", "9112 2.3", line("GET / HTTP/1.\xb9")),
]

STRANGE_CASES = [
    refused("tls-hello", "not HTTP", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\n\r\n"),
    refused("ssh-banner", "not HTTP", octets("SSH-2.0-client\r\n\r\n")),
    refused(
        "proxy-protocol-unasked",
        "spoofing",
        octets("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n") + get(),
    ),
    refused(
        "proxy-protocol-2-unasked",
        "spoofing",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + get(),
    ),
    refused("a-response", "not a request", octets("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
    refused("words", "not HTTP", octets("hello\r\n\r\n")),
    refused("only-spaces", "not HTTP", octets("  \r\n\r\n")),
    unfinished("nothing-at-all", "9112 8", b""),
    unfinished("a-cut-request-line", "9112 8", octets("GET / HTT"), 400),
    unfinished("a-cut-field", "9112 8", octets("GET / HTTP/1.1\r\nHost: a"), 400),
    unfinished("no-empty-line", "9112 8", octets("GET / HTTP/1.1\r\nHost: a\r\n"), 400),
    unfinished("half-an-empty-line", "9112 8", octets("GET / HTTP/1.1\r\nHost: a\r\n\r"), 400),
]

CASES = [*METHOD_CASES, *TARGET_CASES, *SPACE_CASES, *VERSION_CASES, *STRANGE_CASES]
