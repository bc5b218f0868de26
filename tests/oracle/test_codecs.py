"""The two codecs of the slow path, side by side: h11 is the referee of the compiled one.

Both get the same bytes, cut in the same places, and are asked the same. What they read, what they
write and how they fail has to be equal, whatever comes.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.seeds import seeds
from tests.support.effort import effort
from tests.support.wire import split
from trio_lb.errors import TrioLBError
from trio_lb.fast.http1 import read_fields
from trio_lb.http.heads import RequestHead, ResponseHead
from trio_lb.http1 import compiled_codec, h11_codec
from trio_lb.http1.codec import END, NEED_DATA, ClientCodec, Codecs, ServerCodec, Signal
from trio_lb.http1.compiled_codec import Misused

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.http.heads import FieldLine

Seen: TypeAlias = list[object]

BOTH = (h11_codec.CODECS, compiled_codec.CODECS)

#: A response to a request: what is written, and whether before its body is read.
Answer: TypeAlias = tuple[int, list["FieldLine"], list[bytes], list["FieldLine"], bool, bool]

FRAMES = st.sampled_from(
    [[], [(b"Content-Length", b"3")], [(b"Content-Length", b"0")], [(b"content-length", b"5")]]
)
ANSWERS: st.SearchStrategy[list[Answer]] = st.lists(
    st.tuples(
        st.sampled_from([200, 200, 204, 304, 404, 101, 103]),
        FRAMES,
        st.lists(st.sampled_from([b"abc", b"", b"ab"]), max_size=2),
        st.sampled_from([[], [(b"X-Sum", b"1")]]),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)
USUAL: Answer = (200, [(b"Content-Length", b"0")], [], [], False, False)
REFUSAL: Answer = (400, [(b"Content-Length", b"3")], [b"abc"], [], True, False)

PIECES = st.one_of(
    st.just([1 << 20]), st.just([1]), st.lists(st.integers(1, 40), min_size=1, max_size=6)
)

#: Bytes; what is longer is not cut into small pieces, which would take long.
SHORT = 1000

WORDS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b",", b"\x00", b"\x0b", b"\xff", b"0",
    b"1", b"3", b"5", b"A: b\r\n", b"\r\n b", b"\r\n\t", b"\n ", b"X: y\r\n z\r\n", b"Host: a\r\n",
    b"Host:\r\n", b"Connection: close\r\n", b"Connection: a,\tClose ,b\r\n",
    b"Connection: keep-alive\r\n", b"Connection: x\r\n close\r\n", b"Content-Length: 3\r\n",
    b"Content-Length: 3, 3\r\n", b"Content-Length: 3\r\n ,3\r\n", b"Content-Length: 3\r\n 3\r\n",
    b"Content-Length: 3\r\n \r\n", b"content-length:3\r\n", b"Content-Length: 03\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: Chunked\r\n",
    b"Transfer-Encoding: chunked\r\n \r\n", b"Transfer-Encoding: chunked\r\n , chunked\r\n",
    b"transfer-encoding: gzip\r\n", b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n",
    b"0\r\n\r\n", b"3\r\nabc\r\n", b"3;x=y\r\nabc\r\n", b"0003\r\nabc\r\n", b"3 \r\nabc\r\n",
    b"1\r\n", b"00000000003\r\nabc\r\n", b"0\r\nX-A: b\r\n\r\n", b"0;x\r\n\r\n",
    b"ffffffffffffffff\r\n", b"abc", b"GET / HTTP/1.1\r\n", b"HEAD /x HTTP/1.1\r\n",
    b"POST * HTTP/1.0\r\n", b"CONNECT a:1 HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200\r\n", b"HTTP/1.1 204 \r\n", b"HTTP/1.1 101 S\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n",
]  # fmt: skip


def mutated(kept: list[bytes]) -> st.SearchStrategy[bytes]:
    """Known inputs, one or two of them in a row, with pieces put in, left out or said twice."""
    change = st.tuples(st.integers(0, 400), st.integers(0, 12), st.sampled_from([b"", *WORDS]))

    def change_all(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
        for place, length, word in changes:
            at = place % (len(data) + 1)
            data = data[:at] + word + data[at + length :]
        return data

    short = [data for data in kept if len(data) < SHORT]
    inputs = st.lists(st.sampled_from(short), min_size=1, max_size=2).map(b"".join)
    return st.builds(change_all, inputs, st.lists(change, max_size=3))


def assembled(first: list[bytes]) -> st.SearchStrategy[bytes]:
    """Messages put together of words, which begin as messages do."""
    return st.builds(
        lambda begin, words, rest: begin + b"".join(words) + b"\r\n" + b"".join(rest),
        st.sampled_from(first),
        st.lists(st.sampled_from(WORDS), max_size=6),
        st.lists(st.sampled_from(WORDS), max_size=6),
    )


def outcome(seen: Seen, attempt: Callable[[], object]) -> object:
    """What comes of a call: noted, and given back; None where it failed."""
    try:
        result = attempt()
    except TrioLBError as exc:
        seen.append((type(exc), str(exc), getattr(exc, "status", None)))
    except (h11.LocalProtocolError, Misused, ValueError):
        seen.append("our own bug")
    else:
        seen.append(tuple(result) if isinstance(result, tuple) else result)
        return result
    return None


def read_all(
    side: ClientCodec | ServerCodec, read: Callable[[], object], left: list[bytes], seen: Seen
) -> object:
    """Reads up to END, a head or an error, fed only when the side asks for more.

    How much of a body comes before an error is not compared: h11 loses what it has buffered.
    """
    body = b""
    while True:
        part = outcome(seen, read)
        if part is NEED_DATA:
            seen.pop()
            if not left:
                return NEED_DATA
            side.feed(left.pop(0))
        elif isinstance(part, bytes | bytearray):
            seen.pop()
            body += part
        else:
            if part is not None:
                seen += [body, list(side.trailers)]
            return part


def states(side: ClientCodec) -> object:
    """What a session asks a codec."""
    return side.may_go_on, side.request_complete, side.head_only, side.ends_by_closing


def answered(side: ClientCodec, answer: Answer, seen: Seen) -> bool:
    """Writes a response; false if the connection can't go on in HTTP."""
    status, lines, pieces, trailers, close, _ = answer
    if status < 200:
        outcome(seen, lambda: side.informational(status, b"Interim", lines))
        if status == 101:
            outcome(seen, side.leave_http)
            seen.append(states(side))
            return False
        status = 200
    if side.head_only:
        pieces = []
    outcome(seen, lambda: side.response(status, b"OK", lines, close=close))
    for piece in pieces:
        outcome(seen, partial(side.body, piece))
    outcome(seen, lambda: side.end(trailers))
    seen.append(states(side))
    return True


def with_a_client(codecs: Codecs, pieces: list[bytes], answers: list[Answer]) -> Seen:
    """All that is read from a client and written to it."""
    side = codecs.client(600, 200, 12)
    seen: Seen = []
    left = [*pieces, b""]
    turn = 0
    while turn < 8:
        answer = answers[turn % len(answers)]
        turn += 1
        seen.append(side.begun)
        head = read_all(side, side.read_head, left, seen)
        if head is None or isinstance(head, Signal):
            # Refused, or the end: what is said to a client that could not be understood.
            seen.append(states(side))
            if head is None:
                answered(side, REFUSAL, seen)
            return seen
        assert isinstance(head, RequestHead)
        if head.method == b"CONNECT":
            answer = (501, *USUAL[1:])  # which is what admission says
        early = answer[-1]
        # A 101 takes up what was offered by a whole request.
        if answer[0] == 101 and (early or b"upgrade" not in [field[1] for field in head.fields]):
            answer = USUAL
        if early and not answered(side, answer, seen):
            return seen
        read_all(side, side.read_body, left, seen)
        seen.append(states(side))
        if not early and not answered(side, answer, seen):
            return seen
        seen.append(states(side))
        if not side.may_go_on:
            return seen
        side.start_next_cycle()
    return seen


def with_a_server(
    codecs: Codecs, pieces: list[bytes], method: bytes, body: bytes | None, offer: bool, late: bool
) -> Seen:
    """All that is written to a server and read from it."""
    side = codecs.server()
    seen: Seen = []
    lines = [(b"Host", b"a")]
    if body is not None:
        lines.append((b"Transfer-Encoding", b"chunked"))
    if offer:
        lines += [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
    outcome(seen, lambda: side.request(method, b"/", lines))
    if body is not None:
        outcome(seen, lambda: side.body(body))
    if not late:
        outcome(seen, lambda: side.end([]))
    left = [*pieces, b""]
    head = None
    for _ in range(104):
        head = read_all(side, side.read_head, left, seen)
        seen.append((side.answered, side.switched, side.reusable))
        if not isinstance(head, ResponseHead) or head.status == 101 or head.status >= 200:
            break
    if late:
        outcome(seen, lambda: side.end([(b"X-Sum", b"1")] if body is not None else []))
    if isinstance(head, ResponseHead):
        if head.status == 101:
            seen += [side.switched, side.leave_http()]
        else:
            read_all(side, side.read_body, left, seen)
            for rest in left[:-1]:
                side.feed(rest)
    seen.append((side.answered, side.switched, side.reusable))
    return seen


REQUESTS = [*seeds("requests"), *seeds("ordinary_requests")]
RESPONSES = [*seeds("responses"), *seeds("ordinary_responses")]
REQUEST_LINES = [b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST /x HTTP/1.1\r\n", b"PUT /x HTTP/1.0\r\n"]
STATUS_LINES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 404\r\n",
    b"HTTP/1.1 304 A\n",
    b"HTTP/1.1 101 S\r\n",
]


@pytest.mark.parametrize("lengths", [[1 << 20], [1], [7]], ids=["whole", "bytes", "sevens"])
@pytest.mark.parametrize("answer", [USUAL, (200, [], [b"abc"], [(b"A", b"b")], False, True)])
def test_known_requests(answer: Answer, lengths: list[int]) -> None:
    for data in REQUESTS:
        pieces = split(data, lengths if len(data) < SHORT else [len(data)])
        h11s, compiled = (with_a_client(codecs, pieces, [answer]) for codecs in BOTH)
        assert compiled == h11s, data


@pytest.mark.parametrize("lengths", [[1 << 20], [1], [7]], ids=["whole", "bytes", "sevens"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
def test_known_responses(method: bytes, lengths: list[int]) -> None:
    for data in RESPONSES:
        for offer in (False, True):
            pieces = split(data, lengths if len(data) < SHORT else [len(data)])
            h11s, compiled = (
                with_a_server(codecs, pieces, method, None, offer, False) for codecs in BOTH
            )
            assert compiled == h11s, data


@effort(3000)
@given(
    data=st.one_of(mutated(REQUESTS), assembled(REQUEST_LINES)),
    answers=ANSWERS,
    lengths=PIECES,
)
def test_requests(data: bytes, answers: list[Answer], lengths: list[int]) -> None:
    pieces = split(data, lengths)
    h11s, compiled = (with_a_client(codecs, pieces, answers) for codecs in BOTH)
    assert compiled == h11s


@effort(3000)
@given(
    data=st.one_of(mutated(RESPONSES), assembled(STATUS_LINES)),
    method=st.sampled_from([b"GET", b"HEAD", b"POST"]),
    body=st.sampled_from([None, None, b"", b"abc"]),
    offer=st.booleans(),
    late=st.booleans(),
    lengths=PIECES,
)
@example(
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n ,3\r\ncontent-length: 3\r\n\r\nabc",
    b"GET", None, False, False, [1 << 20],
)  # fmt: skip
def test_responses(
    data: bytes, method: bytes, body: bytes | None, offer: bool, late: bool, lengths: list[int]
) -> None:
    pieces = split(data, lengths)
    h11s, compiled = (with_a_server(codecs, pieces, method, body, offer, late) for codecs in BOTH)
    assert compiled == h11s


@given(st.one_of(st.binary(), assembled(STATUS_LINES), mutated(RESPONSES)))
def test_bytes_that_no_gate_has_seen_do_no_harm(data: bytes) -> None:
    with suppress(ValueError):
        fields, hosts, _, _ = read_fields(data)
        assert hosts == [lower for _, lower, _ in fields].count(b"host")
        assert all(name and lower == name.lower() for name, lower, _ in fields)
        assert all(value == value.strip(b" \t") for _, _, value in fields)
        assert all(name in data for name, _, _ in fields)


@pytest.mark.parametrize("left", [0, 1, 3])
@pytest.mark.parametrize(
    "rest", [b"abc\r\n0\r\n\r\n", b"\r\n2;x\r\nab\r\n0\r\nA: b\r\n\r\n", b"abcd", b"\rX"]
)
@pytest.mark.parametrize("length", [1, 1000])
def test_a_body_is_gone_on_with_in_a_chunk(left: int, rest: bytes, length: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    both = []
    for codecs in BOTH:
        seen: Seen = []
        side = codecs.client(600, 200, 12)
        side.go_on_in_chunk(left)
        pieces = split(head + rest, [length])
        read_all(side, side.read_head, pieces, seen)
        read_all(side, side.read_body, [*pieces, b""], seen)
        both.append((seen, states(side)))
    assert both[0] == both[1]


def test_the_end_of_a_stream_between_two_messages() -> None:
    for codecs in BOTH:
        side = codecs.client(600, 200, 12)
        side.feed(b"")
        assert side.read_head() is END
