"""Chunked bodies: each rule once kept, once broken, and where a body ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.wire import read_requests, split
from trio_lb.http1.chunks import EXTENSIONS_LIMIT, LINE_LIMIT, Chunked, ChunkLines, Sized
from trio_lb.http1.strict import Violation

if TYPE_CHECKING:
    from trio_lb.http.heads import FieldLine

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
END = b"0\r\n\r\n"

splits = pytest.mark.parametrize("lengths", [[1 << 20], [1], [7]])


@splits
@pytest.mark.parametrize(
    ("body", "data", "trailers"),
    [
        pytest.param(END, b"", [], id="empty"),
        pytest.param(b"3\r\nabc\r\n" + END, b"abc", [], id="one chunk"),
        pytest.param(b"1\r\na\r\n2\r\nbc\r\n" + END, b"abc", [], id="two chunks"),
        pytest.param(b"a\r\n0123456789\r\n" + END, b"0123456789", [], id="small hexadecimal"),
        pytest.param(b"A\r\n0123456789\r\n" + END, b"0123456789", [], id="large hexadecimal"),
        pytest.param(b"0000000000000003\r\nabc\r\n00\r\n\r\n", b"abc", [], id="zeros before"),
        pytest.param(b"5\r\n0\r\n\r\n\r\n" + END, b"0\r\n\r\n", [], id="data like an end"),
        pytest.param(b"3;a=b;c\r\nabc\r\n0;d\r\n\r\n", b"abc", [], id="extensions"),
        pytest.param(b'3;a="b; \xff"\r\nabc\r\n' + END, b"abc", [], id="quoted extension"),
        pytest.param(b"1;" + b"x" * (LINE_LIMIT - 2) + b"\r\na\r\n" + END, b"a", [], id="long one"),
        pytest.param(b"0\r\nA: b \r\nc:\r\n\r\n", b"", [(b"A", b"b"), (b"c", b"")], id="trailers"),
        pytest.param(
            b"0\r\nTransfer-Encoding: b\r\nContent-Length: c\r\n\r\n",
            b"",
            [(b"Transfer-Encoding", b"b"), (b"Content-Length", b"c")],
            id="trailers like framing, which are left out where they are passed on",
        ),
    ],
)
def test_accepted(body: bytes, data: bytes, trailers: list[FieldLine], lengths: list[int]) -> None:
    requests, end = read_requests(split(HEAD + body + NEXT, lengths))
    assert end == "end"
    assert [(request.body, request.trailers) for request in requests] == [
        (data, trailers),
        (b"", []),
    ]


@splits
@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"\r\n" + END, 400, id="no size"),
        pytest.param(b"g\r\n", 400, id="no hexadecimal"),
        pytest.param(b"0x3\r\nabc\r\n", 400, id="0x"),
        pytest.param(b"+3\r\nabc\r\n", 400, id="plus"),
        pytest.param(b"-3\r\nabc\r\n", 400, id="minus"),
        pytest.param(b" 3\r\nabc\r\n", 400, id="space before"),
        pytest.param(b"3 \r\nabc\r\n", 400, id="space behind"),
        pytest.param(b"3\t\r\nabc\r\n", 400, id="tab behind"),
        pytest.param(b"3 ;a\r\nabc\r\n", 400, id="space before an extension"),
        pytest.param(b"1 0\r\n", 400, id="space inside"),
        pytest.param(b"1_0\r\n", 400, id="underscore"),
        pytest.param(b"3,\r\nabc\r\n", 400, id="comma"),
        pytest.param(b"0" * 16 + b"3\r\nabc\r\n", 400, id="17 digits"),
        pytest.param(b"3\nabc\r\n" + END, 400, id="bare line feed behind the size"),
        pytest.param(b"3\rabc\r\n" + END, 400, id="bare CR behind the size"),
        pytest.param(b"3\r\r\nabc\r\n" + END, 400, id="CR CR LF behind the size"),
        pytest.param(b"3;a\nabc\r\n" + END, 400, id="bare line feed in an extension"),
        pytest.param(b"3;a\rb\r\nabc\r\n" + END, 400, id="bare CR in an extension"),
        pytest.param(b"3;a\0\r\nabc\r\n" + END, 400, id="NUL in an extension"),
        pytest.param(b"3;a\t\r\nabc\r\n" + END, 400, id="tab in an extension"),
        pytest.param(b"3\r\nabc\n" + END, 400, id="bare line feed behind data"),
        pytest.param(b"3\r\nabc\rX" + END, 400, id="CR and no line feed behind data"),
        pytest.param(b"3\r\nabcd\r\n" + END, 400, id="more data than said"),
        pytest.param(b"3\r\nab\r\n" + END, 400, id="less data than said"),
        pytest.param(b"3\r\nabc" + END, 400, id="no line end behind data"),
        pytest.param(b"1;" + b"x" * (LINE_LIMIT - 1) + b"\r\na\r\n", 400, id="long line"),
        pytest.param(b"1;" + b"x" * 1000, 400, id="endless line"),
        pytest.param(b"0" * 1000, 400, id="endless size"),
        pytest.param(
            (b"1;" + b"x" * 250 + b"\r\na\r\n") * (EXTENSIONS_LIMIT // 251 + 1),
            400,
            id="extensions",
        ),
        pytest.param(b"0\r\n\n", 400, id="bare line feed at the end"),
        pytest.param(b"0\n\r\n", 400, id="bare line feed before the end"),
        pytest.param(b"0\r\n\rX", 400, id="bare CR at the end"),
        pytest.param(b"0\r\nA : b\r\n\r\n", 400, id="space before the colon of a trailer"),
        pytest.param(b"0\r\nA: b\n\r\n", 400, id="bare line feed in a trailer"),
        pytest.param(b"0\r\nA: b\r\n c\r\n\r\n", 400, id="folded trailer"),
        pytest.param(b"0\r\nA\r\n\r\n", 400, id="no trailer"),
        pytest.param(b"0\r\nA: \x01\r\n\r\n", 400, id="control character in a trailer"),
        pytest.param(b"0\r\nGET / HTTP/1.1\r\n\r\n", 400, id="a request as trailer"),
        pytest.param(b"0\r\nA: " + b"b" * 300 + b"\r\n\r\n", 431, id="large trailers"),
        pytest.param(b"0\r\nA: " + b"b" * 5000, 431, id="endless trailers"),
        pytest.param(b"0\r\n" + b"A:\r\n" * 9 + b"\r\n", 431, id="many trailers"),
        pytest.param(b"3\r\nabc\r\n", "gone", id="no last chunk"),
        pytest.param(b"3\r\nabc\r\n0\r\n", "gone", id="no end of the trailers"),
        pytest.param(b"ffffffffffffffff\r\nabc", "gone", id="a chunk that never ends"),
    ],
)
def test_refused(body: bytes, status: int | str, lengths: list[int]) -> None:
    limits = {"head": 256, "fields": 8}
    assert read_requests(split(HEAD + body, lengths), **limits) == ([], status)


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=30), max_size=6),
    extension=st.sampled_from([b"", b";a", b";a=b"]),
    behind=st.binary(max_size=20),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
)
def test_a_gate_lets_exactly_the_body_pass(
    pieces: list[bytes], extension: bytes, behind: bytes, lengths: list[int]
) -> None:
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces) + END
    gate = Chunked(ChunkLines(1000, 10, padded=False))
    waiting = passed = b""
    for piece in split(body + behind, lengths):
        waiting += piece
        while size := gate.advance(waiting):
            passed, waiting = passed + waiting[:size], waiting[size:]
    assert (passed, waiting) == (body, behind)


def test_what_is_good_passes_before_what_is_not() -> None:
    gate = Chunked(ChunkLines(1000, 10, padded=False))
    data = b"1\r\na\r\n2\r\nbcX"
    assert gate.advance(data) == len(data) - 1
    with pytest.raises(Violation):
        gate.advance(b"X")


def test_a_sized_body_ends_where_it_was_said_to() -> None:
    gate = Sized(5)
    assert [gate.advance(b"abc"), gate.advance(b"defg"), gate.advance(b"h")] == [3, 2, 0]
