"""Which host a request is for: Host, absolute targets, and where the two disagree."""

from __future__ import annotations

from tests.gateway.cases import SERVER, RequestCase, forwarded, last, message, refused, saw

HOST = "9112 3.2"
ABSOLUTE = "9112 3.2.2"
SYNTAX = "9110 7.2, 3986 3.2.2"


def of(*fields: str, target: str = "/", method: str = "GET", version: str = "1.1") -> bytes:
    """A request with these field lines alone."""
    return message(f"{method} {target} HTTP/{version}", *fields)


def good(name: str, host: str) -> RequestCase:
    """A Host that is one, and goes on as it is."""
    return forwarded(f"host-{name}", SYNTAX, of(f"Host: {host}"), saw(host=host))


def bad(name: str, host: str) -> RequestCase:
    """A Host that is none."""
    return refused(f"host-{name}", SYNTAX, of(f"Host: {host}"))


HOST_CASES = [
    good("with-a-port", "example.org:8080"),
    good("with-the-last-port", "example.org:65535"),
    good("with-an-empty-port", "example.org:"),
    good("with-a-dot-at-the-end", "example.org.:80"),
    good("in-capitals", "EXAMPLE.org"),
    good("with-an-underscore", "a_b.example"),
    good("ipv4", "127.0.0.1:80"),
    good("ipv6", "[::1]:80"),
    good("ipv6-without-a-port", "[2001:db8::a]"),
    good("international", "xn--bcher-kva.example"),
    good("percent-encoded", "a%2Db"),
    forwarded("host-by-another-case", "9110 5.1", of("hOsT: a"), saw()),
    forwarded("host-with-space-around", "9112 5.1", of("Host: \t a \t "), saw()),
    forwarded("host-last-of-all", "9110 5.3", of("X: y", "Host: a"), saw()),
    refused("host-missing", HOST, of("X: y")),
    last("host-missing-in-1.0", HOST, of("X: y", version="1.0"), saw(host=SERVER)),
    refused("host-empty", "no server here answers for nobody", of("Host:")),
    refused("host-of-spaces", HOST, of("Host:   ")),
    refused("host-twice-differing", HOST, of("Host: a", "Host: b")),
    refused("host-twice-equal", HOST, of("Host: a", "Host: a")),
    refused("host-twice-in-two-cases", HOST, of("Host: a", "X: y", "HOST: b")),
    refused("host-twice-in-1.0", HOST, of("Host: a", "Host: b", version="1.0")),
    refused("host-with-space-before-the-colon", "9112 5.1", of("Host : a")),
    refused("host-behind-a-good-one-with-a-space", "9112 5.1", of("Host: a", "Host : b")),
    refused("host-folded", "9112 5.2", of("Host:", " a")),
    refused("host-as-a-fold-of-the-first-line", "9112 2.2", of(" Host: a")),
    refused("host-continued", "9112 5.2", of("Host: a", " b")),
    bad("list", "a, b"),
    bad("with-a-comma", "a,b"),
    bad("with-a-space", "a b"),
    bad("with-a-tab", "a\tb"),
    bad("with-userinfo", "user@a"),
    bad("with-a-password", "user:pw@a"),
    bad("with-a-path", "a/b"),
    bad("with-a-query", "a?b"),
    bad("with-a-fragment", "a#b"),
    bad("with-a-backslash", "a\\b"),
    bad("in-quotes", '"a"'),
    bad("like-a-url", "http://a"),
    bad("with-port-65536", "a:65536"),
    bad("with-a-huge-port", "a:18446744073709551696"),
    bad("with-a-negative-port", "a:-1"),
    bad("with-a-signed-port", "a:+80"),
    bad("with-a-port-of-letters", "a:http"),
    bad("with-a-port-of-six-digits", "a:000080"),
    bad("ipv6-with-a-zone", "[fe80::1%25lo]"),
    bad("with-two-ports", "a:80:90"),
    bad("with-a-space-before-the-port", "a: 80"),
    bad("of-a-port-alone", ":80"),
    bad("ipv6-unclosed", "[::1"),
    bad("ipv6-without-brackets", "::1"),
    bad("ipv6-of-letters", "[zz]"),
    bad("ipv6-too-long", "[1:2:3:4:5:6:7:8:9]"),
    bad("ipv6-with-a-tail", "[::1]b"),
    bad("ipv4-in-brackets", "[127.0.0.1]"),
    bad("with-high-bit", "\xe9.example"),
    bad("with-nul", "a\0b"),
    bad("with-del", "a\x7f"),
    bad("with-a-bare-cr", "a\rb"),
    bad("with-a-broken-percent", "a%2"),
]

ABSOLUTE_CASES = [
    forwarded("absolute", ABSOLUTE, of("Host: a", target="http://a/b?c"), saw("GET /b?c")),
    forwarded(
        "absolute-wins", ABSOLUTE, of("Host: a", target="http://b/c"), saw("GET /c", host="b")
    ),
    forwarded(
        "absolute-with-a-port",
        ABSOLUTE,
        of("Host: a", target="http://b:81/"),
        saw("GET /", {"x-forwarded-host": "b:81"}, host="b:81"),
    ),
    forwarded("absolute-https", ABSOLUTE, of("Host: a", target="https://a/b"), saw("GET /b")),
    forwarded("absolute-capitals", "3986 3.1", of("Host: a", target="HTTP://a/b"), saw("GET /b")),
    forwarded("absolute-without-a-path", "9112 3.2.1", of("Host: a", target="http://a"), saw()),
    forwarded("absolute-query", "9112 3.2.1", of("Host: a", target="http://a?b"), saw("GET /?b")),
    forwarded(
        "absolute-of-options-alone",
        "9112 3.2.4",
        of("Host: a", target="http://a", method="OPTIONS"),
        saw("OPTIONS *"),
    ),
    forwarded("absolute-beside-an-empty-host", ABSOLUTE, of("Host:", target="http://a/"), saw()),
    last(
        "absolute-in-1.0-without-host",
        ABSOLUTE,
        of("X: y", target="http://b/", version="1.0"),
        saw(host="b"),
    ),
    refused("absolute-without-host", HOST, of("X: y", target="http://a/")),
    refused("absolute-beside-two-hosts", HOST, of("Host: a", "Host: a", target="http://a/")),
    refused("absolute-beside-a-bad-host", HOST, of("Host: a b", target="http://a/")),
    refused("absolute-with-userinfo", "9110 4.2.4", of("Host: a", target="http://u@a/")),
    refused("absolute-with-a-password", "9110 4.2.4", of("Host: a", target="http://u:p@a/")),
    refused("absolute-with-an-empty-host", "9110 4.2.1", of("Host: a", target="http:///b")),
    refused("absolute-of-a-port-alone", "9110 4.2.1", of("Host: a", target="http://:80/")),
    refused("absolute-with-a-bad-port", SYNTAX, of("Host: a", target="http://a:99999/")),
    refused("absolute-with-a-comma", SYNTAX, of("Host: a", target="http://a,b/")),
    refused("absolute-with-a-backslash", SYNTAX, of("Host: a", target="http://a\\@b/")),
    refused("absolute-with-a-fragment", ABSOLUTE, of("Host: a", target="http://a/#b")),
    refused("absolute-of-ftp", "not served here", of("Host: a", target="ftp://a/")),
    refused("absolute-of-a-file", "not served here", of("Host: a", target="file:///etc/passwd")),
    refused("absolute-of-one-slash", ABSOLUTE, of("Host: a", target="http:/a")),
    refused("absolute-of-no-slash", ABSOLUTE, of("Host: a", target="http:a")),
]

CASES = [*HOST_CASES, *ABSOLUTE_CASES]
