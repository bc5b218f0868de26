"""The compiled codec against the slow path: response heads.

As with requests: what the codec calls a head, the slow path reads and writes the same.
"""

from __future__ import annotations

from itertools import product
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.effort import effort
from tests.support.http_bytes import cut, mutated, ordinary_responses
from trio_lb.errors import ResponseBroken
from trio_lb.fast.http1 import Response, read_response
from trio_lb.http.dates import http_date
from trio_lb.http.forwarding import response_lines
from trio_lb.http.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, Framing, of_length
from trio_lb.http.heads import ResponseHead
from trio_lb.http.personal import makes_personal
from trio_lb.http1.codec import END, ServerCodec
from trio_lb.http1.h11_codec import H11ClientCodec, H11ServerCodec

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def server_side(data: bytes, method: bytes) -> tuple[ServerCodec, ResponseHead | None]:
    """The slow path after it has read a head, and that head if it is whole and accepted."""
    side = H11ServerCodec()
    side.request(method, b"/", [(b"Host", b"a")])
    side.end([])
    side.feed(data)
    try:
        part = side.read_head()
    except ResponseBroken:
        return side, None
    return side, part if isinstance(part, ResponseHead) else None


def written(head: ResponseHead, method: bytes, close: bool, date: int | None) -> bytes:
    """The head that the slow path sends to a client that asked with this method."""
    side = H11ClientCodec(1000, 100, 10)
    side.feed(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method)
    side.read_head()
    assert side.read_body() is END
    lines = response_lines(head, None if date is None else http_date(date))
    if head.status < 200:
        return side.informational(head.status, head.reason, lines)
    return side.response(head.status, head.reason, lines, close=close)


def check(data: bytes, method: bytes = b"GET") -> Response | Literal[False] | None:
    """What the codec says about `data`, after that was held against the slow path."""
    response = read_response(data, to_head=method == b"HEAD")
    if response is None:
        assert server_side(data, method)[1] is None
    if not response:
        return response
    whole, head = server_side(data[: response.length], method)
    assert head is not None
    assert head[:-1] == response.parts
    assert head.framing == framing_of(response)
    assert server_side(data, method)[1] == head
    assert not makes_personal((lower, value) for _, lower, value in head.fields)
    if head.status < 200:
        assert response.bodiless
        assert response.write() == written(head, method, False, None)
        whole.feed(OK)
        assert whole.read_head() == server_side(OK, method)[1]
        return response
    for close, date in product((False, True), (None, 1_800_000_000)):
        assert response.write(close, date) == written(head, method, close, date)
    check_framing(whole, response)
    return response


def framing_of(response: Response) -> Framing:
    """The same as the slow path has it."""
    if response.bodiless:
        return NO_BODY
    if response.chunked:
        return CHUNKED
    if response.until_close:
        return UNTIL_CLOSE
    assert response.content_length is not None
    return of_length(response.content_length)


def check_framing(side: ServerCodec, response: Response) -> None:
    """`side` has seen the head, and no byte behind it."""
    if response.bodiless:
        assert not response.chunked
    elif response.chunked:
        side.feed(b"0\r\n\r\n")
    elif response.until_close:
        side.feed(b"x")
        assert side.read_body() == b"x"
        side.feed(b"")
    elif response.content_length and response.content_length < 1000:
        side.feed(b"x" * response.content_length)
        assert side.read_body() == b"x" * response.content_length
    if response.bodiless or response.chunked or (response.content_length or 0) < 1000:
        assert side.read_body() is END
        assert side.reusable == (not response.close)


METHODS = st.sampled_from([b"GET", b"HEAD", b"POST"])


@given(ordinary_responses(), METHODS, st.sampled_from([b"", b"x", OK, b"\r\n", b"\x00\xff"]))
@example(OK, b"GET", b"")
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HEAD", b"")
@example(b"HTTP/1.1 200 OK\r\n\r\n", b"HEAD", b"")
def test_plain_heads_are_read_like_the_slow_path_does(
    head: bytes, method: bytes, behind: bytes
) -> None:
    response = check(head, method)
    assert response
    assert response.length == len(head)
    again = read_response(head + behind, to_head=method == b"HEAD")
    assert again
    assert again.parts == response.parts
    assert again.length == len(head)


@given(ordinary_responses(interim=True), METHODS)
@example(b"HTTP/1.1 100 Continue\r\n\r\n", b"GET")
@example(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nHost: a\r\n\r\n", b"HEAD")
def test_so_are_those_of_interim_responses(head: bytes, method: bytes) -> None:
    response = check(head, method)
    assert response
    assert response.length == len(head)


@given(ordinary_responses(), st.lists(st.integers(0, 600), max_size=4))
def test_a_plain_head_is_whole_with_its_last_byte_and_never_before(
    head: bytes, places: list[int]
) -> None:
    for length in range(len(head)):
        assert read_response(head[:length]) is None
        assert read_response(head[:length], max(0, length - 1)) is None
    seen = 0
    came = read_response(b"")
    for piece in cut(head, places):
        assert came is None
        seen += len(piece)
        came = read_response(head[:seen], seen - len(piece))
    assert came


@effort(400)
@given(st.one_of(mutated(ordinary_responses()), mutated(ordinary_responses(interim=True))), METHODS)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n X: b\r\n\r\n", b"GET")
@example(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", b"GET")
@example(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b"GET")
def test_whatever_is_called_a_head_the_slow_path_reads_the_same(data: bytes, method: bytes) -> None:
    check(data, method)


FALLBACK = [
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.02 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.0 103 Early Hints\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nUpgrade: h2\r\n\r\n",
    b"HTTP/1.1 99 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
    b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0, 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nContent-Length: a\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.0 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x-a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close,\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX_Y: z\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 64 + b"Content-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: " + b"b" * 65536,
    b"<html>",
]


@pytest.mark.parametrize("data", FALLBACK)
def test_not_plain(data: bytes) -> None:
    assert read_response(data) is False


@pytest.mark.parametrize(
    ("data", "content_length", "chunked", "bodiless", "close"),
    [
        (OK, 0, False, False, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 7, False, False, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None, True, False, False),
        (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", None, False, True, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 7, False, True, False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 7, False, True, False),
        (b"HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None, False, True, False),
        (b"HTTP/1.1 304 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None, False, True, False),
        (
            b"HTTP/1.1 200\r\nUpgrade: h2,h2c\r\nConnection: Upgrade\r\nContent-Length: 7\r\n\r\n",
            7,
            False,
            False,
            False,
        ),
        (
            b"HTTP/1.1 200 OK\r\nConnection: Upgrade, close\r\nContent-Length: 7\r\n\r\n",
            7,
            False,
            False,
            True,
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n", 7, False, False, True),
        (b"HTTP/1.0 200 OK\r\n\r\n", None, False, False, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", None, False, False, True),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 7\r\n\r\n",
            7,
            False,
            False,
            True,
        ),
    ],
)
def test_framing(
    data: bytes, content_length: int | None, chunked: bool, bodiless: bool, close: bool
) -> None:
    response = check(data)
    assert response
    assert response.until_close == (content_length is None and not (chunked or bodiless))
    assert response.content_length == content_length
    assert (response.chunked, response.bodiless, response.close) == (chunked, bodiless, close)


@given(st.integers(0, 253402300799))
@example(0)
@example(951782399)
@example(951782400)
@example(951868800)
@example(4107542400)
@example(253402300799)
def test_dates(second: int) -> None:
    response = read_response(OK)
    assert response
    lines = response.write(date=second).split(b"\r\n")
    assert [line for line in lines if line[:4] == b"Date"] == [b"Date: " + http_date(second)]
