"""Which heads are let through to h11: each rule once kept, once broken."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.effort import effort
from tests.support.wire import read_requests, read_responses, split
from trio_lb.errors import ClientError
from trio_lb.http1.h11_codec import H11ClientCodec

HOST = b"Host: a\r\n"

#: How bytes arrive: whole, each alone, or in these lengths, over and over.
SPLITS = st.one_of(
    st.just([1]), st.lists(st.integers(1, 40), min_size=1, max_size=6), st.just([1 << 20])
)


def get(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    """A request with these lines."""
    return b"".join(line + b"\r\n" for line in (first, b"Host: a", *lines, b""))


def post(framing: bytes, body: bytes = b"") -> bytes:
    """A request with this framing and body."""
    return get(framing, first=b"POST / HTTP/1.1") + body


ACCEPTED = [
    pytest.param(get(), id="the smallest"),
    pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="HTTP/1.0 without any field"),
    pytest.param(b"\r\n" + get(), id="one empty line before it"),
    pytest.param(get(first=b"M-SEARCH!#$%&'*+.^_`|~09az / HTTP/1.1"), id="all of a token"),
    pytest.param(get(first=b"A" * 64 + b" / HTTP/1.1"), id="method of 64 bytes"),
    pytest.param(get(first=b"GET /\"<>\\^`{|}~!$&'()*+,;=:@%00 HTTP/1.1"), id="visible target"),
    pytest.param(get(b"!#$%&'*+-.^_`|~09AZaz: x"), id="all of a field name"),
    pytest.param(get(b"X:"), id="empty value"),
    pytest.param(get(b"X:a"), id="no space behind the colon"),
    pytest.param(get(b"X: \t a \t "), id="space around a value"),
    pytest.param(get(b"X: a\tb \x80\xff"), id="tab and obs-text in a value"),
    pytest.param(get(b"X: a:b: c"), id="colons in a value"),
    pytest.param(get(b"X: 1", b"X: 2", b"x: 3"), id="a field several times"),
    pytest.param(post(b"Content-Length: 0"), id="length 0"),
    pytest.param(post(b"Content-Length: 003", b"abc"), id="length with zeros"),
    pytest.param(post(b"content-LENGTH:3 \t", b"abc"), id="length in odd writing"),
    pytest.param(post(b"Transfer-Encoding: chunked", b"0\r\n\r\n"), id="chunked"),
    pytest.param(post(b"transfer-encoding:\tCHUNKED ", b"0\r\n\r\n"), id="chunked in odd writing"),
    pytest.param(get(b"X: Content-Length: 5"), id="framing inside a value"),
    pytest.param(get(b"X-Content-Length: 5"), id="framing at the end of a name"),
]


@pytest.mark.parametrize("lengths", [[1 << 20], [1], [7]])
@pytest.mark.parametrize("data", ACCEPTED)
def test_accepted(data: bytes, lengths: list[int]) -> None:
    requests, end = read_requests(split(data, lengths))
    assert (len(requests), end in ("end", "last")) == (1, True)
    requests, end = read_requests(split(get() + data, lengths))
    assert (len(requests), end in ("end", "last")) == (2, True)


REFUSED = [
    # Lines
    pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", 400, id="bare line feeds"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, id="one bare line feed"),
    pytest.param(b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400, id="behind the request line"),
    pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"\n", 400, id="as the empty line"),
    pytest.param(b"\n" + get(), 400, id="before the request"),
    pytest.param(b"\r\n\r\n" + get(), 400, id="two empty lines"),
    pytest.param(get(b"X: a\rb"), 400, id="bare CR in a value"),
    pytest.param(get(b"X: a\r\r"), 400, id="CR CR LF"),
    pytest.param(get(b"X\r: a"), 400, id="bare CR in a name"),
    pytest.param(get(first=b"GET /\r HTTP/1.1"), 400, id="bare CR in the request line"),
    pytest.param(get(b"X: a", b" b"), 400, id="folded by a space"),
    pytest.param(get(b"X: a", b"\tb"), 400, id="folded by a tab"),
    pytest.param(get(b"X: a", b" "), 400, id="folded, and nothing"),
    pytest.param(b"GET / HTTP/1.1\r\n X: a\r\n" + HOST + b"\r\n", 400, id="space before a field"),
    # Fields
    pytest.param(get(b"X : a"), 400, id="space before the colon"),
    pytest.param(get(b"X\t: a"), 400, id="tab before the colon"),
    pytest.param(get(b"Content-Length : 5"), 400, id="space before the colon of a length"),
    pytest.param(get(b": a"), 400, id="no name"),
    pytest.param(get(b"X"), 400, id="no colon"),
    pytest.param(get(b"X Y: a"), 400, id="space in a name"),
    pytest.param(get(b"X(: a"), 400, id="no token"),
    pytest.param(get(b"\xc3\xa4: a"), 400, id="UTF-8 in a name"),
    pytest.param(get(b"X\0: a"), 400, id="NUL in a name"),
    *(
        pytest.param(get(b"X: a%cb" % code), 400, id=f"control character {code}")
        for code in [*range(9), 11, 12, *range(14, 32), 127]
    ),
    # The request line
    pytest.param(get(first=b"GET  / HTTP/1.1"), 400, id="two spaces"),
    pytest.param(get(first=b"GET /  HTTP/1.1"), 400, id="two spaces before the version"),
    pytest.param(get(first=b"GET\t/ HTTP/1.1"), 400, id="a tab"),
    pytest.param(get(first=b" GET / HTTP/1.1"), 400, id="space before"),
    pytest.param(get(first=b"GET / HTTP/1.1 "), 400, id="space behind"),
    pytest.param(get(first=b"GET /a b HTTP/1.1"), 400, id="space in the target"),
    pytest.param(get(first=b"GET / "), 400, id="no version"),
    pytest.param(b"GET /\r\n", 400, id="HTTP/0.9, whose client waits"),
    pytest.param(get(first=b"GET HTTP/1.1"), 400, id="no target"),
    pytest.param(get(first=b"/ HTTP/1.1"), 400, id="no method"),
    pytest.param(get(first=b"G(T / HTTP/1.1"), 400, id="method is no token"),
    pytest.param(get(first=b"A" * 65 + b" / HTTP/1.1"), 400, id="method of 65 bytes"),
    pytest.param(get(first=b"GET /\xc3\xa4 HTTP/1.1"), 400, id="UTF-8 in the target"),
    pytest.param(get(first=b"GET /\x7f HTTP/1.1"), 400, id="DEL in the target"),
    pytest.param(get(first=b"GET / http/1.1"), 400, id="version in small letters"),
    pytest.param(get(first=b"GET / HTTP/1.10"), 400, id="version of two digits"),
    pytest.param(get(first=b"GET / HTTP/11"), 400, id="version without a dot"),
    pytest.param(get(first=b"GET / HTTP/0.9"), 400, id="version 0.9"),
    pytest.param(get(first=b"GET / ICE/1.1"), 400, id="another protocol"),
    pytest.param(get(first=b"GET / HTTP/1.2"), 505, id="version 1.2"),
    pytest.param(get(first=b"GET / HTTP/2.0"), 505, id="version 2.0"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, id="HTTP/2"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", 400, id="TLS"),
    # Framing
    pytest.param(
        post(b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"), 400, id="both"
    ),
    pytest.param(
        post(b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n"), 400, id="both, too"
    ),
    pytest.param(post(b"Content-Length: 5\r\nContent-Length: 5"), 400, id="equal lengths"),
    pytest.param(post(b"Content-Length: 5\r\nContent-Length: 6"), 400, id="lengths"),
    pytest.param(post(b"Content-Length: 5, 5"), 400, id="a list of equal lengths"),
    pytest.param(post(b"Content-Length: 5,"), 400, id="a list of one length"),
    *(
        pytest.param(post(b"Content-Length: " + value), 400, id=f"length {value.decode()!r}")
        for value in (
            b"", b"+5", b"-5", b"-0", b"5 5", b"0x5", b"5.0", b"1e3", b"1_0", b'"5"', b"a", b"5;a",
            b"9223372036854775808", b"18446744073709551621", b"9" * 5000,
        )
    ),
    pytest.param(post(b"Content-Length: \xb2"), 400, id="length of a superscript"),
    *(
        pytest.param(
            post(b"Transfer-Encoding: " + value), status, id=f"coding {value.decode()!r}"
        )
        for value, status in (
            (b"", 400), (b"identity", 400), (b"gzip", 400), (b"xchunked", 400),
            (b"chunkedx", 400), (b"chunked;q=1", 400), (b'"chunked"', 400), (b"chun ked", 400),
            (b"chunked, chunked", 400), (b"chunked, gzip", 400), (b"chunked, identity", 400),
            (b"chunked,", 400), (b", chunked", 400), (b"gzip, chunked, chunked", 400),
            (b"gzip, chunked", 501), (b"identity, chunked", 501), (b"GZIP,Chunked", 501),
        )
    ),
    pytest.param(
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400, id="two codings"
    ),
    pytest.param(
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip"), 400, id="gzip is last"
    ),
    pytest.param(
        post(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"), 501, id="gzip is first"
    ),
    pytest.param(
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, id="chunked in HTTP/1.0"
    ),
]  # fmt: skip


@pytest.mark.parametrize("lengths", [[1 << 20], [1], [7]])
@pytest.mark.parametrize(("data", "status"), REFUSED)
def test_refused(data: bytes, status: int, lengths: list[int]) -> None:
    if data.startswith((b"\n", b"\r\n")):
        assert read_requests(split(data, lengths)) == ([], status)
    requests, end = read_requests(split(get(b"X: 1") + data, lengths))
    assert (len(requests), end) == (1, status)
    # A request behind it makes it no better, and is not served.
    requests, end = read_requests(split(data + get(b"X: 2"), lengths))
    assert (requests, end) == ([], status)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\n",
        b"GET /\r\n",
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0",
        b"SSH-2.0-client\r\n",
        b"\r\n\r\n",
    ],
)
def test_what_can_become_no_request_is_refused_before_its_end(data: bytes) -> None:
    for lengths in ([1 << 20], [1]):
        with pytest.raises(ClientError) as caught:
            read_on(split(data, lengths))
        assert caught.value.status == 400


def read_on(pieces: list[bytes]) -> None:
    """Asks for a head after every piece."""
    side = H11ClientCodec(16384, 8192, 100)
    for piece in pieces:
        side.feed(piece)
        side.read_head()


def test_an_empty_line_alone_is_no_beginning() -> None:
    side = H11ClientCodec(16384, 8192, 100)
    side.feed(b"\r\n")
    side.read_head()
    assert not side.begun
    assert read_requests([get(), b"\r\n"])[1] == "end"
    assert read_requests([get(), b"\r"])[1] == 400


PARTS = st.lists(
    st.sampled_from(
        [
            get(), post(b"Content-Length: 3", b"abc"), b"POST / HTTP/1.1\r\nHost: a\r\n",
            b"Transfer-Encoding: chunked\r\n", b"Content-Length: 1\r\n", b"3\r\nabc\r\n",
            b"1;x=y\r\na\r\n", b"0\r\n", b"0\r\n\r\n", b"X: y\r\n", b"X: " + b"y" * 150 + b"\r\n",
            b"\r\n", b"\n", b"\r", b" ", b"a", b":", b"\0",
            b"HEAD /" + b"a" * 60 + b" HTTP/1.1\r\n", b"HTTP/1.0\r\n",
        ]
    ),
    max_size=14,
).map(b"".join)  # fmt: skip


@effort(400)
@given(data=PARTS, lengths=SPLITS)
@example(b"POST / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 300, [1])
@example(get(first=b"GET /" + b"a" * 90 + b" HTTP/1.1") + b"\n", [5])
def test_any_split_of_the_same_bytes_is_the_same_requests(data: bytes, lengths: list[int]) -> None:
    limits = {"head": 256, "target": 64, "fields": 8}
    assert read_requests(split(data, lengths), **limits) == read_requests([data], **limits)


RESPONSE_PARTS = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 x\r\n\r\n", b"HTTP/1.0 404 \n", b"X: y\r\n",
            b"Content-Length: 3\r\n", b"Content-Length: 3\n", b"Transfer-Encoding: chunked\r\n",
            b" folded\r\n", b"\r\n", b"\n", b"\r", b"3\r\nabc\r\n", b"3 \r\nabc\r\n", b"0\r\n\r\n",
            b"abc", b"\0", b":",
        ]
    ),
    max_size=10,
).map(b"".join)  # fmt: skip


@effort(400)
@given(data=RESPONSE_PARTS, lengths=SPLITS, method=st.sampled_from([b"GET", b"HEAD"]))
def test_any_split_of_the_same_bytes_is_the_same_response(
    data: bytes, lengths: list[int], method: bytes
) -> None:
    assert read_responses(split(data, lengths), method) == read_responses([data], method)


OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"


@pytest.mark.parametrize("lengths", [[1 << 20], [1], [7]])
@pytest.mark.parametrize(
    ("data", "status", "body"),
    [
        pytest.param(OK + EMPTY, 200, b"", id="plain"),
        pytest.param(b"HTTP/1.1 200\r\n" + EMPTY, 200, b"", id="no reason"),
        pytest.param(b"HTTP/1.1 200 \r\n" + EMPTY, 200, b"", id="empty reason"),
        pytest.param(b"HTTP/1.1 200 \xc3\xa4\tx\r\n" + EMPTY, 200, b"", id="reason in UTF-8"),
        pytest.param(b"HTTP/1.1 599 x\r\n" + EMPTY, 599, b"", id="status 599"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 1\n\na", 200, b"a", id="bare line feeds"),
        pytest.param(OK + b"X: a\r\n b\r\n\tc\r\n" + EMPTY, 200, b"", id="folded"),
        pytest.param(
            OK + b"Content-Length: 1\r\ncontent-length: 1\r\n\r\na", 200, b"a", id="equal lengths"
        ),
        pytest.param(OK + b"Content-Length: 1, 1\r\n\r\na", 200, b"a", id="list of equal lengths"),
        pytest.param(
            OK + b"Transfer-Encoding: Chunked\r\n\r\n1  \r\na\r\n0;x \r\n\r\n",
            200,
            b"a",
            id="padded sizes of chunks",
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nab", 200, b"ab", id="until it closes"),
        pytest.param(b"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", 204, b"", id="204 and length"),
        pytest.param(
            b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 102 x\r\nA: b\r\n\r\n" + OK + EMPTY,
            200,
            b"",
            id="interim ones",
        ),
        pytest.param(OK + b"A: b\r\n" * 999 + EMPTY, 200, b"", id="1000 fields"),
    ],
)
def test_responses_that_are_read(data: bytes, status: int, body: bytes, lengths: list[int]) -> None:
    responses, end = read_responses(split(data, lengths))
    assert end in ("reusable", "closed")
    head = responses[-1].head
    assert (head.status, responses[-1].body) == (status, body)  # type: ignore[union-attr]
    assert not any(b"\r" in value or b"\n" in value for _, _, value in head.fields)


@pytest.mark.parametrize("lengths", [[1 << 20], [1], [7]])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"SSH-2.0-OpenSSH\r\n", id="another protocol"),
        pytest.param(b"\r\n" + OK + EMPTY, id="empty line before"),
        pytest.param(b"HTTP/2.0 200 OK\r\n" + EMPTY, id="version 2.0"),
        pytest.param(b"HTTP/1.2 200 OK\r\n" + EMPTY, id="version 1.2"),
        pytest.param(b"http/1.1 200 OK\r\n" + EMPTY, id="small letters"),
        pytest.param(b"HTTP/1.1  200 OK\r\n" + EMPTY, id="two spaces"),
        pytest.param(b"HTTP/1.1 200OK\r\n" + EMPTY, id="no space"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n" + EMPTY, id="four digits"),
        pytest.param(b"HTTP/1.1 099 x\r\n" + EMPTY, id="status 99"),
        pytest.param(b"HTTP/1.1 600 x\r\n" + EMPTY, id="status 600"),
        pytest.param(b"HTTP/1.1 200 O\0K\r\n" + EMPTY, id="NUL in the reason"),
        pytest.param(b"HTTP/1.1 200 O\rK\r\n" + EMPTY, id="CR in the reason"),
        pytest.param(OK + b"X : a\r\n" + EMPTY, id="space before a colon"),
        pytest.param(OK + b"X\r\n" + EMPTY, id="no colon"),
        pytest.param(OK + b": a\r\n" + EMPTY, id="no name"),
        pytest.param(OK + b" X: a\r\n" + EMPTY, id="fold of the status line"),
        pytest.param(OK + b"X: a\0b\r\n" + EMPTY, id="NUL"),
        pytest.param(OK + b"X: a\x01b\r\n" + EMPTY, id="control character"),
        pytest.param(OK + b"X: a\x7fb\r\n" + EMPTY, id="DEL"),
        pytest.param(OK + b"X: a\rSet-Cookie: b\r\n" + EMPTY, id="bare CR"),
        pytest.param(OK + b"X: a\r\n \x0bb\r\n" + EMPTY, id="control character in a fold"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n" + EMPTY, id="two framings"),
        pytest.param(OK + b"Content-Length: 1\r\n" + EMPTY, id="different lengths"),
        pytest.param(OK + b"Content-Length: 1, 2\r\n\r\na", id="list of different lengths"),
        pytest.param(OK + b"Content-Length: +1\r\n\r\na", id="length with a sign"),
        pytest.param(OK + b"Content-Length: \r\n\r\na", id="empty length"),
        pytest.param(OK + b"Content-Length:\r\n 1\r\n\r\na", id="folded length"),
        pytest.param(OK + b"Content-Length: 1\r\n 1\r\n\r\na", id="length and a fold"),
        pytest.param(OK + b"Content-Length: 9223372036854775808\r\n\r\na", id="length of 2^63"),
        pytest.param(OK + b"Transfer-Encoding: gzip\r\n\r\n", id="gzip"),
        pytest.param(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="gzip, chunked"),
        pytest.param(OK + b"Transfer-Encoding:\r\n\r\n", id="empty coding"),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="two codings",
        ),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked in 1.0"
        ),
        pytest.param(OK + b"A: b\r\n" * 1000 + EMPTY, id="1001 fields"),
        pytest.param(OK + b"A: " + b"b" * 65536 + b"\r\n" + EMPTY, id="too large"),
        pytest.param(b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n", id="101 unasked"),
        pytest.param(b"HTTP/1.1 102 x\r\n\r\n" * 101 + OK + EMPTY, id="101 interim ones"),
        pytest.param(OK, id="no end"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_responses_that_are_broken(data: bytes, lengths: list[int]) -> None:
    if len(data) > 20_000 and lengths == [1]:
        lengths = [100]  # each byte alone would only take time
    responses, end = read_responses(split(data, lengths))
    assert end == "broken"
    assert not any(response.head.status >= 200 for response in responses)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("data", "method", "body"),
    [
        pytest.param(OK + b"Content-Length: 1\r\n\r\nab", b"GET", b"a", id="longer than said"),
        pytest.param(OK + EMPTY + OK + EMPTY, b"GET", b"", id="a second response"),
        pytest.param(OK + b"Content-Length: 3\r\n\r\nabc", b"HEAD", b"", id="body for HEAD"),
        pytest.param(b"HTTP/1.1 204 x\r\n\r\nabc", b"GET", b"", id="body of a 204"),
        pytest.param(b"HTTP/1.1 304 x\r\nContent-Length: 3\r\n\r\nabc", b"GET", b"", id="304"),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nx", b"GET", b"", id="behind chunks"
        ),
    ],
)
def test_bytes_behind_a_response_serve_nobody(data: bytes, method: bytes, body: bytes) -> None:
    for lengths in ([1 << 20], [1], [7]):
        responses, end = read_responses(split(data, lengths), method)
        assert ([response.body for response in responses], end) == ([body], "closed")
