"""Where the body of a request ends: lengths, transfer codings, and every known way to lie."""

from __future__ import annotations

from tests.gateway.cases import (
    RequestCase,
    chunked,
    forwarded,
    get,
    last,
    octets,
    post,
    refused,
    saw,
    unfinished,
)

LENGTH = "9110 8.6"
SEVERAL = "9112 6.3 (5)"
BOTH = "9112 6.1"
CODING = "9112 6.1"
FINAL = "9112 6.3 (4)"

#: A request that hides in a body.
EVIL = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
#: The same, where the end of a chunked body would be read before it.
ENDED = "0\r\n\r\n" + EVIL


def bad_length(name: str, line: str, rfc: str = LENGTH) -> RequestCase:
    """A length that is none, over a body that hides a request."""
    return refused(f"length-{name}", rfc, post(line, body="hello" + EVIL))


def bad_coding(name: str, *lines: str, rfc: str = CODING, status: int = 400) -> RequestCase:
    """Transfer codings that are not exactly chunked, over a body that hides a request."""
    return refused(f"coding-{name}", rfc, post(*lines, body=ENDED), status)


LENGTH_CASES = [
    forwarded(
        "length", LENGTH, post("Content-Length: 5", body="hello"), saw("POST /", body="hello")
    ),
    forwarded(
        "length-0", LENGTH, post("Content-Length: 0"), saw("POST /", {"content-length": "0"})
    ),
    forwarded(
        "length-with-zeros",
        LENGTH,
        post("Content-Length: 005", body="hello"),
        saw("POST /", {"content-length": "5"}, body="hello"),
    ),
    forwarded(
        "length-with-space-around",
        "9112 5.1",
        post("Content-Length:\t  5 \t", body="hello"),
        saw("POST /", {"content-length": "5"}, body="hello"),
    ),
    forwarded("no-length-no-body", "9112 6.3 (7)", post(), saw("POST /", {"content-length": None})),
    forwarded(
        "length-of-get",
        "9110 9.3.1",
        get("Content-Length: 5") + b"hello",
        saw(fields={"content-length": "5"}, body="hello"),
    ),
    forwarded(
        "length-of-delete",
        "9110 9.3.5",
        get("Content-Length: 5", method="DELETE") + b"hello",
        saw("DELETE /", body="hello"),
    ),
    forwarded(
        "length-of-options",
        "9110 9.3.7",
        get("Content-Length: 5", method="OPTIONS") + b"hello",
        saw("OPTIONS /", body="hello"),
    ),
    forwarded(
        "length-of-head",
        "9110 9.3.2",
        get("Content-Length: 5", method="HEAD") + b"hello",
        saw("HEAD /", body="hello"),
    ),
    forwarded(
        "length-of-70000",
        "more than is kept for a retry",
        post("Content-Length: 70000", body="b" * 70_000),
        saw("POST /", body="b" * 70_000),
    ),
    last(
        "length-in-1.0",
        LENGTH,
        post("Content-Length: 5", body="hello", version="1.0"),
        saw("POST /", body="hello"),
    ),
    forwarded(
        "length-then-a-request",
        "9112 9.3.2",
        post("Content-Length: 5", body="hello") + get(target="/2"),
        saw("POST /", body="hello"),
        saw("GET /2"),
    ),
    forwarded(
        "a-request-in-a-body-is-a-body",
        "CL.0",
        post(f"Content-Length: {len(EVIL)}", body=EVIL),
        saw("POST /", body=EVIL),
    ),
    forwarded(
        "a-request-in-the-body-of-get-is-a-body",
        "CL.0",
        get(f"Content-Length: {len(EVIL)}") + octets(EVIL),
        saw(body=EVIL),
    ),
    forwarded(
        "a-request-behind-no-length-is-a-request",
        "0.CL",
        post() + get(target="/2"),
        saw("POST /"),
        saw("GET /2"),
    ),
    bad_length("signed", "Content-Length: +5"),
    bad_length("negative", "Content-Length: -5"),
    bad_length("negative-zero", "Content-Length: -0"),
    bad_length("hexadecimal", "Content-Length: 0x5"),
    bad_length("octal", "Content-Length: 0o5"),
    bad_length("with-an-underscore", "Content-Length: 0_5"),
    bad_length("with-a-space", "Content-Length: 5 5"),
    bad_length("with-a-point", "Content-Length: 5.0"),
    bad_length("with-an-exponent", "Content-Length: 5e0"),
    bad_length("with-a-letter", "Content-Length: 5b"),
    bad_length("with-a-semicolon", "Content-Length: 5;"),
    bad_length("in-quotes", 'Content-Length: "5"'),
    bad_length("in-brackets", "Content-Length: (5)"),
    bad_length("in-other-digits", "Content-Length: \xd9\xa5"),
    bad_length("of-a-superscript", "Content-Length: \xb2"),
    bad_length("empty", "Content-Length:"),
    bad_length("of-spaces", "Content-Length:   "),
    bad_length("of-a-comma", "Content-Length: ,"),
    bad_length("with-nul", "Content-Length: 5\0", "9110 5.5"),
    bad_length("with-vertical-tab", "Content-Length:\x0b5", "9110 5.5"),
    bad_length("with-bare-cr", "Content-Length: 5\r0", "9112 2.2"),
    bad_length("with-nbsp", "Content-Length: 5\xa0"),
    bad_length("2-to-63", f"Content-Length: {2**63}"),
    bad_length("2-to-64-and-5", f"Content-Length: {2**64 + 5}"),
    bad_length("of-5000-digits", "Content-Length: " + "0" * 4_999 + "5"),
    bad_length("space-before-the-colon", "Content-Length : 5", "9112 5.1"),
    bad_length("tab-before-the-colon", "Content-Length\t: 5", "9112 5.1"),
    bad_length("nul-in-its-name", "Content-\0Length: 5", "9110 5.1"),
    bad_length("folded", "Content-Length:\r\n 5", "9112 5.2"),
    bad_length("continued", "Content-Length: 5\r\n 0", "9112 5.2"),
    bad_length("behind-a-bare-lf", "X: y\nContent-Length: 5", "9112 2.2"),
    bad_length("twice-differing", "Content-Length: 5\r\nContent-Length: 0", SEVERAL),
    bad_length("twice-equal", "Content-Length: 5\r\nContent-Length: 5", SEVERAL),
    bad_length("twice-by-another-case", "Content-Length: 5\r\ncontent-LENGTH: 5", SEVERAL),
    bad_length("twice-first-empty", "Content-Length:\r\nContent-Length: 5", SEVERAL),
    bad_length("list-differing", "Content-Length: 5, 6", SEVERAL),
    bad_length("list-equal", "Content-Length: 5, 5", SEVERAL),
    unfinished("length-not-reached", "9112 8", post("Content-Length: 9", body="hello")),
    unfinished(
        "length-of-63-bits-not-reached",
        "9112 8",
        post(f"Content-Length: {2**63 - 1}", body="hello"),
        in_body=True,
    ),
]

CODING_CASES = [
    forwarded("coding", CODING, chunked("5\r\nhello\r\n0\r\n\r\n"), saw("POST /", body="hello")),
    forwarded(
        "coding-in-capitals",
        "9112 7",
        post("TRANSFER-ENCODING: CHUNKED", body="5\r\nhello\r\n0\r\n\r\n"),
        saw("POST /", {"transfer-encoding": "chunked"}, body="hello"),
    ),
    forwarded(
        "coding-with-space-around",
        "9112 5.1",
        post("Transfer-Encoding: \t chunked\t ", body="0\r\n\r\n"),
        saw("POST /", {"transfer-encoding": "chunked"}),
    ),
    forwarded(
        "coding-of-get",
        "9110 9.3.1",
        get("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
        saw(body="hello"),
    ),
    forwarded(
        "coding-then-a-request",
        "TE.0",
        chunked("0\r\n\r\n") + get(target="/2"),
        saw("POST /"),
        saw("GET /2"),
    ),
    forwarded(
        "content-coding-is-no-framing",
        "9110 8.4",
        post("Content-Encoding: chunked", "Content-Length: 5", body="0\r\n\r\n"),
        saw("POST /", {"content-encoding": "chunked"}, body="0\r\n\r\n"),
    ),
    refused(
        "cl-te",
        BOTH,
        post(f"Content-Length: {len(ENDED)}", "Transfer-Encoding: chunked", body=ENDED),
    ),
    refused(
        "te-cl",
        BOTH,
        post("Transfer-Encoding: chunked", "Content-Length: 4", body=f"1f\r\n{EVIL}\r\n0\r\n\r\n"),
    ),
    refused("te-cl-0", BOTH, post("Transfer-Encoding: chunked", "Content-Length: 0", body=ENDED)),
    refused(
        "te-cl-in-1.0",
        BOTH,
        post("Transfer-Encoding: chunked", "Content-Length: 4", body=ENDED, version="1.0"),
    ),
    refused("te-in-1.0", BOTH, post("Transfer-Encoding: chunked", body=ENDED, version="1.0")),
    refused(
        "te-te-one-of-them-hidden",
        "9112 5.1",
        post("Transfer-Encoding: chunked", "Transfer-encoding : identity", body=ENDED),
    ),
    bad_coding("below-chunked", "Transfer-Encoding: gzip, chunked", status=501),
    bad_coding(
        "below-chunked-in-two", "Transfer-Encoding: b", "Transfer-Encoding: chunked", status=501
    ),
    bad_coding("identity-and-chunked", "Transfer-Encoding: identity, chunked", status=501),
    bad_coding("gzip", "Transfer-Encoding: gzip", rfc=FINAL),
    bad_coding("identity", "Transfer-Encoding: identity", rfc=FINAL),
    bad_coding("above-chunked", "Transfer-Encoding: chunked, gzip", rfc=FINAL),
    bad_coding(
        "above-chunked-in-two", "Transfer-Encoding: chunked", "Transfer-Encoding: b", rfc=FINAL
    ),
    bad_coding("chunked-twice", "Transfer-Encoding: chunked, chunked"),
    bad_coding("chunked-in-two-fields", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    bad_coding("chunked-and-an-empty-field", "Transfer-Encoding: chunked", "Transfer-Encoding:"),
    bad_coding("xchunked", "Transfer-Encoding: xchunked", rfc=FINAL),
    bad_coding("chunkedx", "Transfer-Encoding: chunkedx", rfc=FINAL),
    bad_coding("chunk", "Transfer-Encoding: chunk", rfc=FINAL),
    bad_coding("with-a-parameter", "Transfer-Encoding: chunked;q=1", rfc=FINAL),
    bad_coding("in-quotes", 'Transfer-Encoding: "chunked"', rfc=FINAL),
    bad_coding("in-apostrophes", "Transfer-Encoding: 'chunked'", rfc=FINAL),
    bad_coding("with-a-space-inside", "Transfer-Encoding: chun ked", rfc=FINAL),
    bad_coding("twice-without-a-comma", "Transfer-Encoding: chunked chunked", rfc=FINAL),
    bad_coding("empty", "Transfer-Encoding:", rfc=FINAL),
    bad_coding("with-a-comma-behind", "Transfer-Encoding: chunked,", rfc=FINAL),
    bad_coding("with-a-comma-before", "Transfer-Encoding: , chunked", rfc=CODING),
    bad_coding("with-nbsp", "Transfer-Encoding:\xa0chunked", rfc=FINAL),
    bad_coding("with-high-bit", "Transfer-Encoding: chunked\xff", rfc=FINAL),
    bad_coding("with-vertical-tab", "Transfer-Encoding:\x0bchunked", rfc="9110 5.5"),
    bad_coding("with-form-feed-behind", "Transfer-Encoding: chunked\x0c", rfc="9110 5.5"),
    bad_coding("with-nul", "Transfer-Encoding: chunked\0", rfc="9110 5.5"),
    bad_coding("with-bare-cr", "Transfer-Encoding: chunked\r", rfc="9112 2.2"),
    bad_coding("space-before-the-colon", "Transfer-Encoding : chunked", rfc="9112 5.1"),
    bad_coding("tab-before-the-colon", "Transfer-Encoding\t: chunked", rfc="9112 5.1"),
    bad_coding("space-before-its-name", " Transfer-Encoding: chunked", rfc="9112 5.2"),
    bad_coding("nul-before-its-name", "\0Transfer-Encoding: chunked", rfc="9110 5.1"),
    bad_coding("nbsp-behind-its-name", "Transfer-Encoding\xa0: chunked", rfc="9110 5.1"),
    bad_coding("behind-a-bare-lf", "X: y\nTransfer-Encoding: chunked", rfc="9112 2.2"),
    bad_coding("behind-a-bare-cr", "X: y\rTransfer-Encoding: chunked", rfc="9112 2.2"),
    bad_coding("behind-an-empty-bare-lf", "\nTransfer-Encoding: chunked", rfc="9112 2.2"),
    bad_coding("folded", "Transfer-Encoding:\r\n chunked", rfc="9112 5.2"),
    bad_coding("folded-by-a-tab", "Transfer-Encoding:\r\n\tchunked", rfc="9112 5.2"),
    bad_coding("continued", "Transfer-Encoding: chunked\r\n , identity", rfc="9112 5.2"),
    bad_coding("without-a-colon", "Transfer-Encoding chunked", rfc="9112 5"),
    bad_coding("with-two-colons", "Transfer-Encoding:: chunked", rfc=FINAL),
]

CASES = [*LENGTH_CASES, *CODING_CASES]
