"""The compiled body framing against h11, for every way in which the bytes may arrive."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.effort import effort
from tests.support.http_bytes import chunked_bodies, cut, odd_chunked_bodies, trailers
from trio_lb.errors import ResponseBroken
from trio_lb.fast.http1 import FRAMED_BROKEN as BROKEN
from trio_lb.fast.http1 import FRAMED_END as END
from trio_lb.fast.http1 import FRAMED_MORE as MORE
from trio_lb.fast.http1 import FRAMED_ODD as ODD
from trio_lb.fast.http1 import BodyFraming
from trio_lb.http.forwarding import _NOT_IN_TRAILERS, trailer_lines
from trio_lb.http.heads import RequestHead
from trio_lb.http1.codec import Signal
from trio_lb.http1.h11_codec import H11ClientCodec, H11ServerCodec

MAX_HELD = 8


def relay(framing: BodyFraming, pieces: list[bytes]) -> bytes:
    """All good bytes, from a caller that holds back what isn't good yet."""
    held = relayed = b""
    for piece in pieces:
        data = held + piece
        good = framing.feed(data)
        relayed += data[:good]
        held = data[good:]
        if framing.state != MORE:
            break
        assert len(held) <= MAX_HELD
    return relayed


def by_h11(data: bytes) -> tuple[bytes, h11.EndOfMessage | None, bytes]:
    """The body in `data`, its end if h11 sees it, and what h11 has not consumed.

    Raises:
        h11.RemoteProtocolError: malformed.
    """
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert type(connection.next_event()) is h11.Request
    if data:  # b"" means the end of the stream to h11
        connection.receive_data(data)
    payload = b""
    while True:
        event = connection.next_event()
        if type(event) is h11.Data:
            payload += event.data
        else:
            end = event if type(event) is h11.EndOfMessage else None
            return payload, end, connection.trailing_data[0]


def by_general(data: bytes) -> tuple[bytes, bool]:
    """The same by the slow path: the body, and whether that was all."""
    side = H11ClientCodec(16384, 8192, 100)
    side.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    assert isinstance(side.read_head(), RequestHead)
    payload = b""
    while not isinstance(part := side.read_body(), Signal):
        payload += part
    return payload, part is Signal.END


def check(data: bytes) -> BodyFraming:
    """Hold what the framing says about a chunked body against h11 and the slow path."""
    framing = BodyFraming(chunked=True)
    relayed = relay(framing, [data])
    assert data.startswith(relayed)
    payload, end, left = by_h11(relayed)
    assert len(payload) == framing.payload
    assert by_general(relayed) == (payload, framing.state == END)
    if framing.state == END:
        assert end is not None
        assert not list(end.headers)
        assert not left
    else:
        assert end is None
        # h11 waits for data, for the CRLF behind them, or for the next line.
        assert not left
    if framing.state == ODD:
        # A last chunk makes of it a whole body: both sides are between two chunks.
        assert by_h11(relayed + b"0\r\n\r\n")[:2] == (payload, h11.EndOfMessage())
    if framing.state == BROKEN:
        with pytest.raises(h11.RemoteProtocolError):
            by_h11(data)
    return framing


@given(chunked_bodies(), st.sampled_from([b"", b"GET /", b"\r\n", b"0\r\n\r\n"]))
def test_plain_bodies_end_where_they_end(body: bytes, behind: bytes) -> None:
    framing = check(body + behind)
    assert framing.state == END
    assert relay(BodyFraming(chunked=True), [body + behind]) == body


@given(st.one_of(chunked_bodies(), odd_chunked_bodies()))
@example(b"5\r\nhello\r\n0\r\n\r\n")
@example(b"5;a=b\r\nhello\r\n0\r\n\r\n")
@example(b"5\r\nhelloX\r\n0\r\n\r\n")
def test_every_split_leads_to_the_same_end(data: bytes) -> None:
    whole = BodyFraming(chunked=True)
    relayed = relay(whole, [data])
    ways = [cut(data, [place]) for place in range(len(data))]
    ways.append([bytes([byte]) for byte in data])
    for pieces in ways:
        framing = BodyFraming(chunked=True)
        assert relay(framing, pieces) == relayed
        assert (framing.state, framing.payload) == (whole.state, whole.payload)


@effort(400)
@given(odd_chunked_bodies())
def test_what_goes_on_is_what_h11_reads(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize(
    ("data", "good", "state"),
    [
        (b"", b"", MORE),
        (b"5", b"", MORE),
        (b"5\r", b"", MORE),
        (b"5\r\n", b"5\r\n", MORE),
        (b"5\r\nhel", b"5\r\nhel", MORE),
        (b"5\r\nhello", b"5\r\nhello", MORE),
        (b"5\r\nhello\r", b"5\r\nhello", MORE),
        (b"5\r\nhello\r\n", b"5\r\nhello\r\n", MORE),
        (b"5\r\nhello\r\n0", b"5\r\nhello\r\n", MORE),
        (b"5\r\nhello\r\n0\r\n", b"5\r\nhello\r\n", MORE),
        (b"5\r\nhello\r\n0\r\n\r", b"5\r\nhello\r\n", MORE),
        (b"5\r\nhello\r\n0\r\n\r\nGET", b"5\r\nhello\r\n0\r\n\r\n", END),
        (b"1\r\nx\r\n0\r\nA: b\r\n\r\n", b"1\r\nx\r\n", ODD),
        (b"1\r\nx\r\n1;a=b\r\nx", b"1\r\nx\r\n", ODD),
        (b"1\r\nx\r\n\r\n", b"1\r\nx\r\n", ODD),
        (b"1 \r\nx\r\n", b"", ODD),
        (b" 1\r\nx\r\n", b"", ODD),
        (b"0x1\r\nx\r\n", b"", ODD),
        (b"-1\r\nx\r\n", b"", ODD),
        (b"1\nx\r\n", b"", ODD),
        (b"1\r\rx\r\n", b"", ODD),
        (b"g\r\n", b"", ODD),
        (b"0\r\n\n", b"", ODD),
        (b"0\r\n\rx", b"", ODD),
        (b"0" * 2, b"", ODD),
        (b"05\r\nhello", b"", ODD),
        (b"10000000\r\nx", b"", ODD),
        (b"1\r\nxx\r\n", b"1\r\nx", BROKEN),
        (b"1\r\nx\n", b"1\r\nx", BROKEN),
        (b"1\r\nx\rx", b"1\r\nx", BROKEN),
    ],
)
def test_chunks(data: bytes, good: bytes, state: int) -> None:
    framing = check(data)
    assert relay(BodyFraming(chunked=True), [data]) == good
    assert framing.state == state


def test_the_largest_chunk() -> None:
    """Its size fits every number that a server may read it into."""
    framing = BodyFraming(chunked=True)
    assert framing.feed(b"FFFFFFF\r\nx") == 10
    assert framing.remaining == 2**28 - 2
    assert framing.state == MORE


@given(st.binary(min_size=1, max_size=40), st.lists(st.integers(0, 40), max_size=3))
def test_a_body_of_known_length(body: bytes, places: list[int]) -> None:
    framing = BodyFraming(len(body))
    assert framing.state == MORE
    assert relay(framing, cut(body + b"GET", places)) == body
    assert (framing.state, framing.payload, framing.remaining) == (END, len(body), 0)


@pytest.mark.parametrize("content_length", [None, 0])
def test_no_body(content_length: int | None) -> None:
    framing = BodyFraming(content_length)
    assert framing.state == END
    assert framing.feed(b"GET") == 0


@pytest.mark.parametrize("data", [b"0\r\n\r\n", b"x", b"1\r\nxx"])
def test_nothing_is_good_after_the_end(data: bytes) -> None:
    framing = BodyFraming(chunked=True)
    framing.feed(data)
    state = framing.state
    assert framing.feed(b"1\r\nx\r\n") == 0
    assert framing.state == state


def by_slow_path(data: bytes) -> bytes | None:
    """A chunked response's trailers as a client gets them, if `data` is the whole body."""
    server, client = H11ServerCodec(), H11ClientCodec(1000, 100, 10)
    server.request(b"GET", b"/", [(b"Host", b"a")])
    server.end([])
    server.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    client.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    client.read_head()
    client.read_body()
    server.read_head()
    client.response(200, b"", [])
    try:
        while not isinstance(part := server.read_body(), Signal):
            pass
    except ResponseBroken:
        return None
    return client.end(trailer_lines(server.trailers)) if part is Signal.END else None


@effort(400)
@given(trailers(), st.sampled_from([b"", b"HTTP/1.1", b"\r\n"]))
@example(b"X-Sum: 1\r\n\r\n", b"")
@example(b"grpc-status: 0\r\ngrpc-message: \r\n\r\n", b"")
@example(b"Host: x\r\n\r\n", b"")
@example(b"A: b\r\n\r", b"x")
def test_trailers_go_on_as_the_slow_path_writes_them(section: bytes, behind: bytes) -> None:
    begin = b"1\r\nx\r\n"
    body = begin + b"0\r\n" + section
    framing = BodyFraming(chunked=True, trailers=True)
    good = framing.feed(body + behind)
    if framing.state == END:
        assert by_slow_path(body[:good]) == body[len(begin) : good]
    else:
        assert framing.state == ODD
        assert good == len(begin)
    for place in range(len(begin), len(body)):
        split = BodyFraming(chunked=True, trailers=True)
        at = split.feed(body[:place])
        assert split.state in (MORE, framing.state)
        if split.state == MORE:
            at += split.feed((body + behind)[at:])
        assert (at, split.state) == (good, framing.state)


@pytest.mark.parametrize(
    ("section", "state"),
    [
        (b"X: " + b"y" * 4090 + b"\r\n\r\n", ODD),
        (b"X: " + b"y" * 4089 + b"\r\n\r\n", END),
        (b"X: " + b"y" * 4094, ODD),
        (b"X: " + b"y" * 4093, MORE),
        (b"X: y\r", MORE),
        (b"X: y\r\n", MORE),
        (b"X: y\r\n\r", MORE),
        (b"X: y\r\n\r\r", ODD),
        (b"X: y\r\n\n", ODD),
        (b"X:y\r\n\r\n", ODD),
        (b"X : y", ODD),
        *((name + b": y\r\n\r\n", ODD) for name in sorted(_NOT_IN_TRAILERS)),
    ],
)
def test_trailers(section: bytes, state: int) -> None:
    framing = BodyFraming(chunked=True, trailers=True)
    good = framing.feed(b"0\r\n" + section)
    assert framing.state == state
    assert good == (3 + len(section) if state == END else 0)
