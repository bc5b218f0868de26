"""Bodies of responses: whole, cut, too long, malformed, and where none may be."""

from __future__ import annotations

from tests.gateway.cases import (
    Ending,
    ResponseCase,
    Then,
    broken,
    cut,
    get,
    ok,
    passed,
    spent,
)

CHUNK = "9112 7.1"
EXTENSION = "9112 7.1.1"
TRAILER = "9112 7.1.2"
LF = "9112 2.2"
LENGTH = "9112 6.3 (6)"
CLOSING = "9112 6.3 (8)"
NONE = "9112 6.3 (1)"
LEFTOVER = "9112 6.3: poisoned connections"
INCOMPLETE = "9112 8"

CHUNKED = "Transfer-Encoding: chunked"
END = "0\r\n\r\n"
#: What must never be anybody's answer.
EVIL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

HEAD = get(method="HEAD")
OLD = get(version="1.0")


def chunks(body: str) -> bytes:
    """A chunked response."""
    return ok(CHUNKED, body=body)


def bad_chunk(name: str, rfc: str, body: str, content: str = "") -> ResponseCase:
    """A body that is malformed behind `content`."""
    return broken(f"chunks-{name}", rfc, chunks(body), content)


WHOLE_CASES = [
    passed("length-0", LENGTH, ok("Content-Length: 0")),
    passed(
        "length-of-100000", LENGTH, ok("Content-Length: 100000", body="b" * 100_000), "b" * 100_000
    ),
    passed("length-with-zeros", LENGTH, ok("Content-Length: 0005", body="hello"), "hello"),
    passed("chunks", CHUNK, chunks("2\r\nhe\r\n3\r\nllo\r\n" + END), "hello"),
    passed("chunks-none", CHUNK, chunks(END)),
    passed("chunks-with-zeros", CHUNK, chunks("0005\r\nhello\r\n00\r\n\r\n"), "hello"),
    passed(
        "chunks-with-extensions", EXTENSION, chunks('5;b="c;d"\r\nhello\r\n0;e\r\n\r\n'), "hello"
    ),
    passed(
        "chunks-with-padded-sizes",
        "common, and framed anew",
        chunks("5  \r\nhello\r\n" + END),
        "hello",
    ),
    passed("chunks-like-a-response", CHUNK, chunks(f"{len(EVIL):x}\r\n{EVIL}\r\n{END}"), EVIL),
    passed(
        "trailers",
        TRAILER,
        chunks("5\r\nhello\r\n0\r\nX: 1\r\nY: 2\r\n\r\n"),
        "hello",
        trailers=[("x", "1"), ("y", "2")],
    ),
    passed(
        "trailers-that-may-not-be",
        "9110 6.5.1",
        chunks(
            "5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: b\r\nX: 1\r\nTE: c\r\n\r\n"
        ),
        "hello",
        trailers=[("x", "1")],
    ),
    passed(
        "chunks-for-a-1.0-client",
        CHUNK,
        chunks("5\r\nhello\r\n" + END),
        "hello",
        ask=OLD,
        ending=Ending.CLOSED,
    ),
    spent("until-close", CLOSING, ok(body="hello"), "hello", then=Then.CLOSE),
    spent(
        "until-close-of-1.0",
        CLOSING,
        ok(body="hello", line="HTTP/1.0 200 OK"),
        "hello",
        then=Then.CLOSE,
    ),
    spent("until-close-and-nothing", CLOSING, ok(), then=Then.CLOSE),
    spent(
        "until-close-for-a-1.0-client",
        CLOSING,
        ok(body="hello"),
        "hello",
        then=Then.CLOSE,
        ask=OLD,
        ending=Ending.CLOSED,
    ),
]

CUT_CASES = [
    cut("length-not-reached", INCOMPLETE, ok("Content-Length: 9", body="hello"), "hello"),
    cut("chunks-cut-in-the-data", INCOMPLETE, chunks("9\r\nhello"), "hello"),
    cut("chunks-cut-in-a-size", INCOMPLETE, chunks("5\r\nhello\r\n1"), "hello"),
    cut("chunks-cut-before-the-last", INCOMPLETE, chunks("5\r\nhello\r\n"), "hello"),
    cut("chunks-cut-behind-the-last", INCOMPLETE, chunks("5\r\nhello\r\n0\r\n"), "hello"),
    cut("chunks-cut-in-the-trailers", INCOMPLETE, chunks("5\r\nhello\r\n0\r\nX: 1\r\n"), "hello"),
    cut("chunks-cut-for-a-1.0-client", INCOMPLETE, chunks("5\r\nhello\r\n"), "hello", ask=OLD),
    broken(
        "length-not-reached-by-reset",
        INCOMPLETE,
        ok("Content-Length: 9", body="hello"),
        "hello",
        then=Then.RESET,
    ),
    broken("until-reset", INCOMPLETE, ok(body="hello"), "hello", then=Then.RESET),
]

MALFORMED_CASES = [
    bad_chunk("size-signed", CHUNK, "+5\r\nhello\r\n" + END),
    bad_chunk("size-negative", CHUNK, "-5\r\nhello\r\n" + END),
    bad_chunk("size-with-0x", CHUNK, "0x5\r\nhello\r\n" + END),
    bad_chunk("size-with-an-underscore", CHUNK, "0_5\r\nhello\r\n" + END),
    bad_chunk("size-with-a-space-before", CHUNK, " 5\r\nhello\r\n" + END),
    bad_chunk("size-with-a-letter", CHUNK, "5g\r\nhello\r\n" + END),
    bad_chunk("size-empty", CHUNK, "\r\nhello\r\n" + END),
    bad_chunk("size-of-17-digits", CHUNK, f"{5:017x}\r\nhello\r\n" + END),
    bad_chunk("size-2-to-64-and-5", CHUNK, f"{2**64 + 5:x}\r\nhello\r\n" + END),
    bad_chunk("size-ended-by-bare-lf", LF, "5\nhello\r\n" + END),
    bad_chunk("data-ended-by-bare-lf", LF, f"5\r\nhello\n{END}{EVIL}", "hello"),
    bad_chunk("data-ended-by-nothing", CHUNK, f"5\r\nhello{END}{EVIL}", "hello"),
    bad_chunk("data-longer-than-its-size", CHUNK, f"5\r\nhello!!{END}", "hello"),
    bad_chunk("second-size-malformed", CHUNK, "5\r\nhello\r\nxyz\r\n" + END, "hello"),
    bad_chunk("extension-with-bare-lf", EXTENSION, f"5;\nb\r\nhello\r\n{END}"),
    bad_chunk("extension-with-nul", EXTENSION, "5;b\0\r\nhello\r\n" + END),
    bad_chunk("extension-without-end", "limit", f"5;{'b' * 100_000}"),
    bad_chunk("trailer-without-a-colon", TRAILER, "5\r\nhello\r\n0\r\nX\r\n\r\n", "hello"),
    bad_chunk("trailer-with-nul", TRAILER, "5\r\nhello\r\n0\r\nX: \0\r\n\r\n", "hello"),
    bad_chunk(
        "trailer-with-bare-cr",
        "response splitting",
        "5\r\nhello\r\n0\r\nX: 1\rY: 2\r\n\r\n",
        "hello",
    ),
    bad_chunk(
        "trailers-of-100000", "limit", "5\r\nhello\r\n0\r\n" + "X: y\r\n" * 20_000 + "\r\n", "hello"
    ),
    bad_chunk("last-line-missing", TRAILER, f"5\r\nhello\r\n0\r\n{EVIL}", "hello"),
]

NO_BODY_CASES = [
    passed("head", NONE, ok("Content-Length: 5"), ask=HEAD, fields={"content-length": "5"}),
    passed(
        "head-that-would-be-chunked", NONE, ok(CHUNKED), ask=HEAD, fields={"content-length": None}
    ),
    passed("head-without-framing", NONE, ok("X: y"), ask=HEAD, fields={"x": "y"}),
    passed(
        "304-with-a-length",
        NONE,
        ok("Content-Length: 5", line="HTTP/1.1 304 Not Modified"),
        status=304,
        fields={"content-length": "5"},
    ),
    passed(
        "204-with-a-length",
        "9110 8.6",
        ok("Content-Length: 5", line="HTTP/1.1 204 No Content"),
        status=204,
        fields={"content-length": None},
    ),
    spent("head-with-a-body", NONE, ok("Content-Length: 5", body="hello"), ask=HEAD),
    spent("head-with-chunks", NONE, ok(CHUNKED, body="5\r\nhello\r\n" + END), ask=HEAD),
    spent("204-with-a-body", NONE, ok(body="hello", line="HTTP/1.1 204 No Content"), status=204),
    spent(
        "304-with-a-body",
        NONE,
        ok("Content-Length: 5", body="hello", line="HTTP/1.1 304 Not Modified"),
        status=304,
    ),
    spent(
        "304-with-chunks", NONE, ok(CHUNKED, body=END, line="HTTP/1.1 304 Not Modified"), status=304
    ),
]

LEFTOVER_CASES = [
    spent("a-byte-too-much", LEFTOVER, ok("Content-Length: 5", body="hello!"), "hello"),
    spent("a-line-too-much", LEFTOVER, ok("Content-Length: 5", body="hello\r\n"), "hello"),
    spent("a-response-too-much", LEFTOVER, ok("Content-Length: 5", body="hello" + EVIL), "hello"),
    spent("a-response-behind-an-empty-one", LEFTOVER, ok("Content-Length: 0", body=EVIL)),
    spent("a-response-behind-chunks", LEFTOVER, chunks("5\r\nhello\r\n" + END + EVIL), "hello"),
    spent("a-response-behind-trailers", LEFTOVER, chunks("0\r\n\r\n" + EVIL)),
    spent(
        "a-response-behind-204", LEFTOVER, ok(body=EVIL, line="HTTP/1.1 204 No Content"), status=204
    ),
    spent(
        "a-response-behind-304",
        LEFTOVER,
        ok(body=EVIL, line="HTTP/1.1 304 Not Modified"),
        status=304,
    ),
    spent("a-response-behind-head", LEFTOVER, ok("Content-Length: 0", body=EVIL), ask=HEAD),
    spent(
        "an-interim-response-too-much",
        LEFTOVER,
        ok("Content-Length: 5", body="helloHTTP/1.1 103 Early Hints\r\n\r\n"),
        "hello",
    ),
]

CASES = [*WHOLE_CASES, *CUT_CASES, *MALFORMED_CASES, *NO_BODY_CASES, *LEFTOVER_CASES]
