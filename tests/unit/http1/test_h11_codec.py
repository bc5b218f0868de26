"""The codec of both sides: messages through it, however their bytes are split, and its refusals."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.effort import effort
from trio_lb.errors import ClientError, ClientGone, ResponseBroken
from trio_lb.http.heads import FieldLine, RequestHead, ResponseHead
from trio_lb.http1.codec import END, NEED_DATA, RESPONSE_HEAD_LIMIT, ClientCodec, ServerCodec
from trio_lb.http1.h11_codec import H11ClientCodec, H11ServerCodec

Splits: TypeAlias = list[int]

_TOKEN = st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
_VALUE = st.from_regex(rb"([!-~\x80-\xff]([ \t]?[!-~\x80-\xff])*)?", fullmatch=True)
_SPECIAL = {
    b"connection", b"content-length", b"expect", b"host", b"te", b"transfer-encoding", b"upgrade",
}  # fmt: skip
_LINES = st.lists(
    st.tuples(_TOKEN.filter(lambda name: name.lower() not in _SPECIAL), _VALUE), max_size=5
)
_PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
#: How the bytes arrive: the lengths of the pieces, used over and over.
_SPLITS = st.one_of(
    st.just([1 << 20]), st.just([1]), st.lists(st.integers(1, 30), min_size=1, max_size=6)
)


class Message(NamedTuple):
    """What was read: a head's fields, body and trailers."""

    fields: list[FieldLine]
    body: bytes
    trailers: list[FieldLine]


def client_side(head: int = 16384, target: int = 8192, fields: int = 100) -> ClientCodec:
    """A client's side with the limits of a profile."""
    return H11ClientCodec(head, target, fields)


def split(data: bytes, lengths: Splits) -> list[bytes]:
    """The same bytes in pieces of these lengths, over and over."""
    pieces = []
    at = turn = 0
    while at < len(data):
        length = lengths[turn % len(lengths)]
        pieces.append(data[at : at + length])
        at += length
        turn += 1
    return pieces


def read(
    side: ClientCodec | ServerCodec, pieces: list[bytes]
) -> tuple[RequestHead | ResponseHead, Message]:
    """Reads a whole message, fed only when the side asks for more."""
    left = list(pieces)
    while (head := side.read_head()) is NEED_DATA:
        side.feed(left.pop(0))
    assert isinstance(head, RequestHead | ResponseHead)
    body = b""
    while (part := side.read_body()) is not END:
        if part is NEED_DATA:
            side.feed(left.pop(0))
        else:
            assert isinstance(part, bytes | bytearray)
            body += part
    for rest in left:
        side.feed(rest)
    lines = [(name, value) for name, lower, value in head.fields]
    assert all(lower == name.lower() for name, lower, _ in head.fields)
    return head, Message(lines, body, side.trailers)


def framing(kind: str, pieces: list[bytes]) -> list[FieldLine]:
    """The field that frames a body of these pieces."""
    if kind == "length":
        return [(b"Content-Length", b"%d" % sum(map(len, pieces)))]
    return [(b"Transfer-Encoding", b"chunked")] if kind == "chunked" else []


@given(
    method=_TOKEN.filter(lambda method: method != b"CONNECT"),
    target=st.from_regex(rb"/[!-~]{0,20}", fullmatch=True),
    lines=_LINES,
    kind=st.sampled_from(["none", "length", "chunked"]),
    pieces=_PIECES,
    trailers=_LINES,
    splits=_SPLITS,
)
def test_a_request_arrives_as_it_was_sent(
    method: bytes,
    target: bytes,
    lines: list[FieldLine],
    kind: str,
    pieces: list[bytes],
    trailers: list[FieldLine],
    splits: Splits,
) -> None:
    if kind == "none":
        pieces = []
    lines = [(b"Host", b"a"), *lines, *framing(kind, pieces)]
    out = H11ServerCodec()
    data = out.request(method, target, lines) + b"".join(out.body(piece) for piece in pieces)
    data += out.end(trailers if kind == "chunked" else [])
    side = client_side()
    head, message = read(side, split(data * 2, splits))
    assert isinstance(head, RequestHead)
    assert (head.method, head.target, head.version) == (method, target, b"1.1")
    assert message == Message(lines, b"".join(pieces), trailers if kind == "chunked" else [])
    side.response(200, b"OK", [(b"Content-Length", b"0")])
    side.end([])
    assert side.may_go_on
    side.start_next_cycle()
    assert side.begun  # another one has come behind it
    assert read(side, []) == (head, message)


@given(
    status=st.integers(200, 599),
    reason=st.from_regex(rb"[ -~\x80-\xff]{0,12}", fullmatch=True).map(bytes.strip),
    lines=_LINES,
    kind=st.sampled_from(["length", "chunked"]),
    pieces=_PIECES,
    trailers=_LINES,
    splits=_SPLITS,
    method=st.sampled_from([b"GET", b"POST", b"HEAD"]),
)
def test_a_response_arrives_as_it_was_sent(
    status: int,
    reason: bytes,
    lines: list[FieldLine],
    kind: str,
    pieces: list[bytes],
    trailers: list[FieldLine],
    splits: Splits,
    method: bytes,
) -> None:
    bodiless = method == b"HEAD" or status in (204, 304)
    declared = [] if kind == "chunked" else framing(kind, pieces)
    if bodiless:
        pieces = []
    side = client_side()
    side.feed(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    read(side, [])
    data = side.response(status, reason, [*lines, *declared])
    data += b"".join(side.body(piece) for piece in pieces) + side.end(trailers)
    assert side.may_go_on
    assert not side.ends_by_closing

    back = H11ServerCodec()
    back.request(method, b"/", [(b"Host", b"a")])
    back.end([])
    head, message = read(back, split(data, splits))
    assert isinstance(head, ResponseHead)
    assert (head.status, head.reason, head.version) == (status, reason, b"1.1")
    chunked = kind == "chunked" and not bodiless
    own = [(b"Transfer-Encoding", b"chunked")] if chunked else []
    expected = Message([*lines, *declared, *own], b"".join(pieces), trailers if chunked else [])
    assert message == expected
    assert back.reusable
    back.feed(b"x")
    assert not back.reusable


HEAD = b"GET /abc HTTP/1.1\r\nHost: a\r\nX-Long: "


@pytest.mark.parametrize("pieces", [[1 << 20], [7], [1000]])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, id="target"),
        pytest.param(b"GET /" + b"a" * 5000, 414, id="endless target"),
        pytest.param(HEAD + b"a" * 300 + b"\r\n\r\n", 431, id="value"),
        pytest.param(HEAD + b"a" * 5000, 431, id="endless value"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A:\r\n" * 10 + b"\r\n", 431, id="number of fields"
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 100 + b"\r\n",
            431,
            id="many header fields",
        ),
    ],
)
def test_limits_hold_whether_a_head_arrives_whole_or_in_pieces(
    data: bytes, status: int, pieces: Splits
) -> None:
    side = client_side(head=256, target=64, fields=10)
    with pytest.raises(ClientError) as caught:
        read(side, split(data, pieces))
    assert caught.value.status == status
    answer = side.response(status, b"No", [(b"Content-Length", b"0")])
    assert answer.endswith(b"Connection: close\r\n\r\n")
    side.end([])
    assert not side.may_go_on
    assert not side.request_complete


@pytest.mark.parametrize("pieces", [[1 << 20], [1], [50]])
def test_what_is_just_within_the_limits_is_read(pieces: Splits) -> None:
    target = b"/" + b"a" * 63
    first = b"GET %b HTTP/1.1\r\n" % target
    fields = b"Host: a\r\n" + b"A: b\r\n" * 8 + b"B: "
    data = first + fields
    data += b"b" * (256 - len(data) - 4) + b"\r\n\r\n"
    assert len(data) == 256
    head, message = read(client_side(head=256, target=64, fields=10), split(data, pieces))
    assert isinstance(head, RequestHead)
    assert (head.target, len(message.fields)) == (target, 10)


def test_a_refused_head_request_is_known_as_one() -> None:
    side = client_side(target=10)
    side.feed(b"HEAD /too-long-by-far HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(ClientError):
        side.read_head()
    assert side.head_only


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS
        (b"\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xb2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400),
    ],
)
def test_malformed_heads(data: bytes, status: int) -> None:
    side = client_side()
    side.feed(data)
    side.feed(b"")
    with pytest.raises(ClientError) as caught:
        side.read_head()
    assert caught.value.status == status
    assert b"Connection: close" in side.response(status, b"No", [(b"Content-Length", b"0")])


def test_a_head_that_is_broken_off_and_a_connection_that_just_ends() -> None:
    side = client_side()
    side.feed(b"GET / HT")
    assert side.read_head() is NEED_DATA
    assert side.begun
    side.feed(b"")
    with pytest.raises(ClientError, match="incomplete"):
        side.read_head()
    side = client_side()
    assert not side.begun
    side.feed(b"")
    assert side.read_head() is END


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"0x1\r\na\r\n",
        b"1\r\naXX0\r\n\r\n",
        b"1\r\na\rX0\r\n\r\n",
        b"\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"1" * 21 + b"\r\n",
        b"1;" + b"a" * 20_000,
    ],
)
def test_malformed_chunks(body: bytes) -> None:
    side = client_side()
    with pytest.raises(ClientError) as caught:
        read(side, [CHUNKED, *split(body, [4000])])
    assert caught.value.status == 400


@pytest.mark.parametrize("rest", [b"", b"5\r\nab", b"0\r\n", b"0\r\nA: b\r\n"])
def test_a_client_that_leaves_during_its_body(rest: bytes) -> None:
    side = client_side()
    with pytest.raises(ClientGone):
        read(side, [CHUNKED + rest, b""])
    side = client_side()
    with pytest.raises(ClientGone):
        read(side, [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n" + rest, b""])


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("left", [0, 1, 5])
def test_a_body_is_gone_on_with_in_the_middle_of_a_chunk(left: int, size: int) -> None:
    side = client_side()
    side.go_on_in_chunk(left)
    data = CHUNKED + b"hello"[:left] + b"\r\n2\r\n, \r\n0\r\nA: b\r\n\r\n"
    _, message = read(side, split(data, [size]))
    assert (message.body, message.trailers) == (b"hello"[:left] + b", ", [(b"A", b"b")])


@pytest.mark.parametrize("rest", [b"hellox", b"hello5\r\nhello\r\n", b"hello\n", b"hello\r\nx"])
def test_but_not_if_the_chunk_does_not_end_there(rest: bytes) -> None:
    side = client_side()
    side.go_on_in_chunk(5)
    with pytest.raises(ClientError):
        read(side, [CHUNKED + rest])


def admit(data: bytes) -> ClientCodec:
    """A client's side that has read this request."""
    side = client_side()
    read(side, [data])
    return side


def test_a_body_of_unknown_length_goes_chunked_or_ends_by_closing() -> None:
    side = admit(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    out = side.response(200, b"OK", []) + side.body(b"abc") + side.body(b"") + side.end([])
    assert out == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    side = admit(b"GET / HTTP/1.0\r\n\r\n")
    out = side.response(200, b"OK", []) + side.body(b"abc") + side.end([(b"A", b"b")])
    assert out == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"
    assert side.ends_by_closing
    assert not side.may_go_on


@pytest.mark.parametrize(
    ("request_line", "status"),
    [(b"HEAD / HTTP/1.1", 200), (b"GET / HTTP/1.1", 204), (b"GET / HTTP/1.1", 304)],
)
def test_a_response_without_a_body_needs_no_framing(request_line: bytes, status: int) -> None:
    side = admit(request_line + b"\r\nHost: a\r\n\r\n")
    assert side.response(status, b"", []) == b"HTTP/1.1 %d \r\n\r\n" % status
    assert side.end([]) == b""
    assert side.may_go_on


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", False),
    ],
)
def test_closing_is_said_where_the_connection_ends(head: bytes, closes: bool) -> None:
    side = admit(head)
    assert side.request_complete
    out = side.response(200, b"OK", [(b"Content-Length", b"0")])
    assert (b"Connection: close" in out) is closes
    side.end([])
    assert side.may_go_on is not closes
    side = admit(head)
    assert b"Connection: close" in side.response(200, b"", [], close=True)


def test_closing_is_said_before_the_request_is_complete() -> None:
    side = client_side()
    side.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
    assert isinstance(side.read_head(), RequestHead)
    assert b"Connection: close" in side.response(413, b"", [(b"Content-Length", b"0")])
    side.end([])
    assert not side.request_complete
    assert not side.may_go_on


def test_interim_responses() -> None:
    side = admit(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    hints = side.informational(103, b"Early Hints", [(b"Link", b"</a>")])
    assert hints == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    side.response(200, b"OK", [(b"Content-Length", b"0")])
    side.end([])
    assert side.may_go_on
    assert admit(b"GET / HTTP/1.0\r\n\r\n").informational(103, b"Early Hints", []) == b""


def server_side(method: bytes = b"GET") -> ServerCodec:
    """A server's side that has sent a request."""
    side = H11ServerCodec()
    assert side.request(method, b"/", [(b"Host", b"a")]).endswith(b"\r\n\r\n")
    side.end([])
    assert not side.answered
    return side


def test_reading_interim_and_final_heads() -> None:
    side = server_side()
    side.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n")
    side.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert side.answered
    heads = [side.read_head() for _ in range(3)]
    assert [head.status for head in heads if isinstance(head, ResponseHead)] == [100, 103, 200]
    assert side.read_body() is END
    assert side.reusable


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01 this is not HTTP\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * (RESPONSE_HEAD_LIMIT + 1),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b",
        b"",
    ],
)
def test_malformed_or_missing_response_heads(data: bytes) -> None:
    side = server_side()
    side.feed(data)
    side.feed(b"")
    with pytest.raises(ResponseBroken):
        side.read_head()
    assert not side.reusable


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    ],
)
def test_responses_that_are_cut_short_or_malformed_never_end(data: bytes) -> None:
    side = server_side()
    with pytest.raises(ResponseBroken):
        read(side, [data, b""])
    assert not side.reusable


def test_a_response_that_ends_by_closing() -> None:
    side = server_side()
    _head, message = read(side, [b"HTTP/1.1 200 OK\r\n\r\nab", b"c", b""])
    assert message.body == b"abc"
    assert not side.reusable


@pytest.mark.parametrize(
    ("data", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", False),
    ],
)
def test_which_connections_are_good_for_another_request(data: bytes, reusable: bool) -> None:
    side = server_side()
    read(side, [data])
    assert side.reusable is reusable


def test_an_answer_before_the_request_is_complete_ends_the_connection() -> None:
    side = H11ServerCodec()
    side.request(b"POST", b"/", [(b"Host", b"a"), (b"Content-Length", b"9")])
    read(side, [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    assert not side.reusable


def test_too_much_or_too_little_of_a_body_is_our_own_bug() -> None:
    side = H11ServerCodec()
    side.request(b"POST", b"/", [(b"Host", b"a"), (b"Content-Length", b"2")])
    with pytest.raises(h11.LocalProtocolError):
        side.body(b"abc")
    side = H11ServerCodec()
    side.request(b"POST", b"/", [(b"Host", b"a"), (b"Content-Length", b"2")])
    side.body(b"a")
    with pytest.raises(h11.LocalProtocolError):
        side.end([])


@effort(300)
@given(st.lists(st.sampled_from(
    [b"GET ", b"POST ", b"/ ", b"HTTP/1.1", b"\r\n", b"\n", b"\r", b"Host: a", b"Content-Length: 1",
     b"Transfer-Encoding: chunked", b"1\r\na\r\n", b"0\r\n\r\n", b"\0", b":", b" ", b"\xff", b"a"]
), max_size=25), _SPLITS)  # fmt: skip
def test_nothing_but_the_errors_that_are_said_comes_out(parts: list[bytes], splits: Splits) -> None:
    for side in (client_side(head=200, target=50, fields=5), server_side()):
        try:
            read(side, [*split(b"".join(parts), splits), b""])
        except (ClientError, ClientGone, ResponseBroken):
            pass
        except AssertionError:
            assert side.read_head() is END  # the connection ended before a message began


OFFER = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
GRANTED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_a_client_that_is_granted_its_offer_leaves_http() -> None:
    side = admit(OFFER + b"\x81\x05hello")
    lines = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    assert side.informational(101, b"Switching Protocols", lines) == GRANTED
    assert side.leave_http() == b"\x81\x05hello"
    assert not side.may_go_on


def test_a_client_that_is_not_granted_its_offer_goes_on_in_http() -> None:
    side = admit(OFFER + b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    side.response(200, b"OK", [(b"Content-Length", b"0")])
    side.end([])
    assert side.may_go_on
    side.start_next_cycle()
    head = side.read_head()
    assert isinstance(head, RequestHead)
    assert head.target == b"/2"


def offering_side(body: bytes = b"") -> ServerCodec:
    """A server's side that has sent the head of an offer."""
    lines = [(b"Host", b"a"), (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
    side = H11ServerCodec()
    side.request(b"POST", b"/", [*lines, (b"Content-Length", b"%d" % len(body))])
    return side


def test_a_server_that_takes_up_an_offer_leaves_http() -> None:
    side = offering_side()
    side.end([])
    side.feed(GRANTED + b"\x81\x02hi")
    head = side.read_head()
    assert isinstance(head, ResponseHead)
    assert head.status == 101
    assert side.switched
    assert not side.reusable
    assert side.leave_http() == b"\x81\x02hi"
    assert not side.reusable


def test_a_server_that_refuses_an_offer_is_reusable() -> None:
    side = offering_side()
    side.end([])
    side.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert isinstance(side.read_head(), ResponseHead)
    assert side.read_body() is END
    assert not side.switched
    assert side.reusable


def test_a_server_cannot_switch_before_the_request_is_complete() -> None:
    side = offering_side(b"body")
    side.feed(GRANTED)
    assert isinstance(side.read_head(), ResponseHead)
    assert not side.switched
