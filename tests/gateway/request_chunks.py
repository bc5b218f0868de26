"""Chunked bodies of requests: sizes, extensions, line ends, trailers."""

from __future__ import annotations

from tests.gateway.cases import (
    RequestCase,
    chunked,
    forwarded,
    get,
    refused_in_body,
    saw,
    unfinished,
)

CHUNK = "9112 7.1"
EXTENSION = "9112 7.1.1"
TRAILER = "9112 7.1.2"
LF = "9112 2.2"

END = "0\r\n\r\n"
EVIL = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"


def good(name: str, rfc: str, body: str, content: str = "hello") -> RequestCase:
    """A chunked body, and its content."""
    return forwarded(f"chunks-{name}", rfc, chunked(body), saw("POST /", body=content))


def trailed(name: str, lines: str, *trailers: tuple[str, str], rfc: str = TRAILER) -> RequestCase:
    """A chunked body with trailers, and those that go on."""
    raw = chunked("5\r\nhello\r\n0\r\n" + lines + "\r\n")
    return forwarded(f"trailers-{name}", rfc, raw, saw("POST /", body="hello", trailers=trailers))


def bad(name: str, rfc: str, body: str, status: int = 400) -> RequestCase:
    """A body that is malformed; nothing behind it is read as a request."""
    return refused_in_body(f"chunks-{name}", rfc, chunked(body), status)


def bad_size(name: str, line: str, rfc: str = CHUNK) -> RequestCase:
    """A size line that is none, before what it might be the size of."""
    return bad(f"size-{name}", rfc, f"{line}\r\nhello\r\n{END}{EVIL}")


def bad_trailer(name: str, lines: str, rfc: str = TRAILER, status: int = 400) -> RequestCase:
    """Trailers that are malformed."""
    return bad(f"trailer-{name}", rfc, f"5\r\nhello\r\n0\r\n{lines}\r\n", status)


CHUNK_CASES = [
    good("none", CHUNK, END, ""),
    good("three", CHUNK, "2\r\nhe\r\n1\r\nl\r\n2\r\nlo\r\n" + END),
    good("of-single-bytes", CHUNK, "1\r\nh\r\n1\r\ni\r\n" + END, "hi"),
    good("in-small-hexadecimal", CHUNK, "a\r\n0123456789\r\n" + END, "0123456789"),
    good("in-large-hexadecimal", CHUNK, "A\r\n0123456789\r\n" + END, "0123456789"),
    good("with-zeros", CHUNK, "0005\r\nhello\r\n" + END),
    good("with-16-digits", CHUNK, f"{5:016x}\r\nhello\r\n" + END),
    good("last-with-zeros", CHUNK, "5\r\nhello\r\n000\r\n\r\n"),
    good("with-an-end-inside", CHUNK, "5\r\n" + END + "\r\n" + END, END),
    good("with-a-request-inside", CHUNK, f"{len(EVIL):x}\r\n{EVIL}\r\n{END}", EVIL),
    good(
        "of-70000",
        "more than is kept for a retry",
        f"{70_000:x}\r\n{'b' * 70_000}\r\n{END}",
        "b" * 70_000,
    ),
    good("extension", EXTENSION, "5;b=c\r\nhello\r\n" + END),
    good("extension-without-a-value", EXTENSION, "5;b\r\nhello\r\n" + END),
    good("extension-in-quotes", EXTENSION, '5;b="c;d e"\r\nhello\r\n' + END),
    good("extensions-of-each", EXTENSION, "2;b=1;c=2\r\nhe\r\n3;d\r\nllo\r\n0;e=f\r\n\r\n"),
    good("extension-of-200", EXTENSION, f"5;{'b' * 200}\r\nhello\r\n{END}"),
    bad("extension-of-300", "limit", f"5;{'b' * 300}\r\nhello\r\n{END}"),
    bad("extension-without-end", "limit", f"5;{'b' * 100_000}"),
    bad("extensions-of-20000-in-all", "limit", f"1;{'b' * 200}\r\nh\r\n" * 100 + END),
    bad("extension-with-bare-lf", EXTENSION, f"5;b\nhello\r\n{END}{EVIL}"),
    bad("extension-with-bare-lf-and-a-chunk", EXTENSION, f"2;\nxx\r\n4c\r\n{END}{EVIL}"),
    bad("extension-with-bare-cr", EXTENSION, "5;b\rc\r\nhello\r\n" + END),
    bad("extension-with-nul", EXTENSION, "5;b\0\r\nhello\r\n" + END),
    bad("extension-with-a-line-end-in-quotes", EXTENSION, '5;b="\n"\r\nhello\r\n' + END),
    bad_size("signed", "+5"),
    bad_size("negative", "-5"),
    bad_size("negative-zero", "-0"),
    bad_size("with-0x", "0x5"),
    bad_size("with-an-underscore", "0_5"),
    bad_size("with-a-point", "5.0"),
    bad_size("with-a-comma", "5,"),
    bad_size("with-a-letter", "5g"),
    bad_size("in-quotes", '"5"'),
    bad_size("empty", ""),
    bad_size("of-an-extension-alone", ";b=c"),
    bad_size("with-a-space-before", " 5"),
    bad_size("with-a-space-behind", "5 "),
    bad_size("with-a-tab-behind", "5\t"),
    bad_size("with-a-space-before-its-extension", "5 ;b", EXTENSION),
    bad_size("with-a-space-inside", "0 5"),
    bad_size("with-nul", "5\0"),
    bad_size("with-vertical-tab", "5\x0b"),
    bad_size("in-other-digits", "\xb5"),
    bad_size("of-17-digits", f"{5:017x}"),
    bad_size("2-to-64-and-5", f"{2**64 + 5:x}"),
    bad_size("of-1000-zeros", "0" * 1000 + "5"),
    bad_size("with-bare-cr", "5\r", LF),
    bad("size-ended-by-bare-lf", LF, f"5\nhello\r\n{END}{EVIL}"),
    bad("size-ended-by-bare-cr", LF, f"5\rhello\r\n{END}{EVIL}"),
    bad("data-ended-by-bare-lf", LF, f"5\r\nhello\n{END}{EVIL}"),
    bad("data-ended-by-bare-cr", LF, f"5\r\nhello\r{END}{EVIL}"),
    bad("data-ended-by-nothing", CHUNK, f"5\r\nhello{END}{EVIL}"),
    bad("data-longer-than-its-size", CHUNK, f"5\r\nhello!\r\n{END}"),
    bad("data-longer-by-two", CHUNK, f"5\r\nhelloXX{END}{EVIL}"),
    bad("data-shorter-than-its-size", CHUNK, f"8\r\nhello\r\n{END}{EVIL}"),
    bad("last-ended-by-bare-lf", LF, f"5\r\nhello\r\n0\n\n{EVIL}"),
    bad("last-line-is-bare-lf", LF, f"5\r\nhello\r\n0\r\n\n{EVIL}"),
    bad("last-line-is-bare-cr", LF, f"5\r\nhello\r\n0\r\n\r{EVIL}"),
    bad("last-line-missing", TRAILER, f"5\r\nhello\r\n0\r\n{EVIL}"),
    bad("second-size-malformed", CHUNK, f"5\r\nhello\r\nxyz\r\n{END}"),
    unfinished("chunks-cut-in-the-data", "9112 8", chunked("5\r\nhe"), in_body=True),
    unfinished("chunks-cut-in-a-size", "9112 8", chunked("5\r\nhello\r\n1"), in_body=True),
    unfinished("chunks-cut-before-the-last", "9112 8", chunked("5\r\nhello\r\n"), in_body=True),
    unfinished(
        "chunks-cut-behind-the-last", "9112 8", chunked("5\r\nhello\r\n0\r\n"), in_body=True
    ),
    unfinished("chunks-of-2-to-64", "9112 8", chunked("f" * 16 + "\r\nhello"), in_body=True),
]

TRAILER_CASES = [
    trailed("two", "X: 1\r\nY: 2\r\n", ("x", "1"), ("y", "2")),
    trailed("with-space-around", "X: \t1 \r\n", ("x", "1")),
    trailed(
        "of-framing",
        "Content-Length: 0\r\nTransfer-Encoding: x\r\nX: 1\r\n",
        ("x", "1"),
        rfc="9110 6.5.1",
    ),
    trailed("of-routing", "Host: b\r\nX: 1\r\n", ("x", "1"), rfc="9110 6.5.1"),
    trailed(
        "of-identity",
        "X-Forwarded-For: b\r\nX-Real-IP: b\r\nForwarded: b\r\nX: 1\r\n",
        ("x", "1"),
        rfc="9110 6.5.1",
    ),
    trailed(
        "of-identity-by-twins",
        "X_Forwarded_For: b\r\nx_real_ip: b\r\nX: 1\r\n",
        ("x", "1"),
        rfc="9110 6.5.1",
    ),
    trailed("of-framing-by-twins", "Content_Length: 0\r\nX: 1\r\n", ("x", "1"), rfc="9110 6.5.1"),
    trailed(
        "of-a-hop", "Connection: close\r\nKeep-Alive: 1\r\nX: 1\r\n", ("x", "1"), rfc="9110 6.5.1"
    ),
    forwarded(
        "trailers-then-a-request",
        TRAILER,
        chunked("0\r\nX: 1\r\n\r\n") + get(target="/2"),
        saw("POST /", trailers=[("x", "1")]),
        saw("GET /2"),
    ),
    bad_trailer("without-a-colon", "X\r\n"),
    bad_trailer("without-a-name", ": 1\r\n"),
    bad_trailer("with-space-before-the-colon", "X : 1\r\n", "9112 5.1"),
    bad_trailer("folded", "X: 1\r\n 2\r\n", "9112 5.2"),
    bad_trailer("beginning-with-a-space", " X: 1\r\n", "9112 5.2"),
    bad_trailer("with-bare-lf", "X: 1\nY: 2\r\n", LF),
    bad_trailer("with-bare-cr", "X: 1\rY: 2\r\n", LF),
    bad_trailer("with-nul", "X: 1\0\r\n", "9110 5.5"),
    bad_trailer("with-a-name-of-high-bits", "\xe9: 1\r\n", "9110 5.1"),
    bad_trailer("of-20000", "X: " + "y" * 20_000 + "\r\n", "limit", 431),
    bad_trailer("fields-101", "X: y\r\n" * 101, "limit", 431),
]

CASES = [*CHUNK_CASES, *TRAILER_CASES]
