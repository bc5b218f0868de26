"""The compiled codec against the slow path: request heads.

The relation goes one way. Whatever the codec calls a head, h11 and `admit` accept and read the
same; what it calls not plain is theirs to judge. That plain heads are called heads is tested too.
"""

from __future__ import annotations

from itertools import product
from typing import Literal

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.effort import effort
from tests.support.http_bytes import (
    OFFERS,
    SLOW_PATH_FIELDS,
    SLOW_PATH_HOSTS,
    STRANGE_FIELDS,
    cut,
    mutated,
    ordinary_requests,
)
from trio_lb.config import ForwardedField
from trio_lb.errors import ClientError
from trio_lb.fast.http1 import ClientLines, Request, read_request
from trio_lb.http.admission import AdmittedRequest, admit
from trio_lb.http.client_lines import client_lines
from trio_lb.http.forwarding import request_lines, request_target
from trio_lb.http.framing import CHUNKED, NO_BODY, Framing, of_length
from trio_lb.http.heads import RequestHead
from trio_lb.http.identity import Identification
from trio_lb.http.personal import makes_personal
from trio_lb.http1 import serialise
from trio_lb.http1.h11_codec import H11ClientCodec

TOLD = [Identification((), field) for field in ForwardedField]
PEER = TOLD[0].peer(("192.0.2.1", 4711), ("192.0.2.2", 80))
CLIENTS = [client_lines(each, PEER.address, PEER.ends.destination) for each in TOLD]
SMALL = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def read(
    data: bytes,
    seen: int = 0,
    *,
    head: int = 16384,
    target: int = 8192,
    fields: int = 100,
    body: int = -1,
    confined: bool = False,
) -> Request | Literal[False] | None:
    return read_request(
        data,
        seen,
        head_limit=head,
        target_limit=target,
        field_limit=fields,
        body_limit=body,
        confined=confined,
    )


def general(
    data: bytes, head: int = 16384, target: int = 8192, fields: int = 100
) -> RequestHead | None:
    """The head as the slow path's parser reads it; None if there is none, or none yet."""
    side = H11ClientCodec(head, target, fields)
    side.feed(data)
    try:
        part = side.read_head()
    except ClientError:
        return None
    return part if isinstance(part, RequestHead) else None


def written(
    head: RequestHead, request: AdmittedRequest, prefix: bytes, told: Identification
) -> bytes:
    """The head that the slow path sends."""
    client = told.identify(PEER, head.fields, request.host)
    lines = request_lines(request, client, request.request_id or b"ours-1", b"unused")
    return serialise.request_head(request.method, request_target(request.target, prefix), lines)


def check(data: bytes) -> Request | Literal[False] | None:
    """What the codec says about `data`, after that was held against the slow path."""
    request = read(data)
    if request is None:
        assert general(data) is None
    if not request:
        return request
    head = general(data)
    assert head is not None
    assert head[:-1] == request.parts
    admitted = admit(head)
    assert admitted.host == request.host
    assert admitted.framing is head.framing
    assert head.framing == framing_of(request)
    assert admitted.request_id == request.request_id
    assert admitted.idempotent == request.idempotent
    assert (admitted.method == b"HEAD") == request.head_only
    assert not admitted.expects_continue
    assert admitted.wants_trailers == request.wants_trailers
    assert not admitted.upgrade
    assert not makes_personal(admitted.lines)
    for prefix, (told, client) in product((b"", b"/below/here"), zip(TOLD, CLIENTS, strict=True)):
        expected = written(head, admitted, prefix, told)
        assert request.write(client, b"ours-1", prefix) == expected
    check_connection(data, request)
    return request


def framing_of(request: Request) -> Framing:
    """The same as the slow path has it."""
    if request.chunked:
        return CHUNKED
    return NO_BODY if request.content_length is None else of_length(request.content_length)


def check_connection(data: bytes, request: Request) -> None:
    """Where the head ends, and whether the connection goes on."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    assert type(connection.next_event()) is h11.Request
    assert connection.trailing_data[0] == data[request.length :]
    if not request.chunked and not request.content_length:
        assert type(connection.next_event()) is h11.EndOfMessage
        if connection.their_state not in (h11.DONE, h11.MUST_CLOSE):
            # It might switch to another protocol; an answer decides.
            connection.send(h11.Response(status_code=200, headers=[(b"Content-Length", b"0")]))
        assert request.close == (connection.their_state is h11.MUST_CLOSE)


@given(ordinary_requests(), st.sampled_from([b"", b"GET", SMALL, b"\r\n", b"\x00\xff"]))
@example(SMALL, b"")
def test_plain_heads_are_read_like_the_slow_path_does(head: bytes, behind: bytes) -> None:
    request = check(head + behind)
    assert request
    assert request.length == len(head)


@given(ordinary_requests(), st.lists(st.integers(0, 600), max_size=4))
def test_a_plain_head_is_whole_with_its_last_byte_and_never_before(
    head: bytes, places: list[int]
) -> None:
    for length in range(len(head)):
        assert read(head[:length]) is None
        assert read(head[:length], max(0, length - 1)) is None
    request = read(head, len(head) - 1)
    assert request
    seen = 0
    came = read(b"")
    for piece in cut(head, places):
        assert came is None
        seen += len(piece)
        came = read(head[:seen], seen - len(piece))
    assert came
    assert came.parts == request.parts


@effort(400)
@given(mutated(ordinary_requests()))
@example(b"GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n")
@example(b"GET / HTTP/1.1\nHost: a\n\n")
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX: b\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\r\n\r\n")
@example(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
@example(b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n")
@example(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n")
@example(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
def test_whatever_is_called_a_head_the_slow_path_reads_the_same(data: bytes) -> None:
    check(data)


@effort(200)
@given(mutated(ordinary_requests()), st.lists(st.integers(0, 600), max_size=4))
def test_pieces_lead_to_the_same_verdict(data: bytes, places: list[int]) -> None:
    whole = read(data)
    seen = 0
    came: Request | Literal[False] | None = None
    for piece in cut(data, places):
        came = read(data[: seen + len(piece)], seen)
        seen += len(piece)
        if came is not None:
            break
    if whole:
        assert came
        assert came.parts == whole.parts
    else:
        # Between two looks only whole lines count, so that one odd byte may be noticed later.
        assert not came


def test_a_cr_that_ends_no_line_is_noticed_at_once() -> None:
    """Its client may have said all it has to say, and would wait until its time is over."""
    head = b"GET / HTTP/1.1\r\nHost: a\r"
    assert read(head, len(head) - 1) is None
    assert read(head + b"\r", len(head)) is False
    assert read(head + b"\r", len(head) - 2) is False


FALLBACK = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    b"GET / http/1.1\r\nHost: a\r\n\r\n",
    b"GET /\r\nHost: a\r\n\r\n",
    b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GETS / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PUSHY / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://A/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n",
    b"GET http://a/#x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET HTTP://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http:/a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\t HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x02",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n",
]


@pytest.mark.parametrize("data", FALLBACK)
def test_not_plain(data: bytes) -> None:
    assert read(data) is False


@pytest.mark.parametrize("field", SLOW_PATH_FIELDS)
@pytest.mark.parametrize("before", [b"", b"Accept: x\r\n"])
def test_fields_that_are_not_plain(field: bytes, before: bytes) -> None:
    assert read(b"GET / HTTP/1.1\r\nHost: a\r\n%b%b\r\n\r\n" % (before, field)) is False


@pytest.mark.parametrize("field", OFFERS)
@pytest.mark.parametrize("before", [b"", b"Accept: x\r\n"])
def test_offers_that_are_left_out(field: bytes, before: bytes) -> None:
    assert check(b"GET / HTTP/1.1\r\nHost: a\r\n" + before + field + b"\r\n\r\n")


@pytest.mark.parametrize("host", SLOW_PATH_HOSTS)
def test_hosts_that_are_not_plain(host: bytes) -> None:
    assert read(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host) is False


@pytest.mark.parametrize("field", STRANGE_FIELDS)
def test_fields_that_are_only_strange(field: bytes) -> None:
    assert check(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % field)


@pytest.mark.parametrize(
    "field", [b"Via: a", b"Connection: close", b"X-Request-ID: a", b"Content-Length: 5"]
)
def test_fields_that_are_plain_only_once(field: bytes) -> None:
    assert read(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n%b\r\n\r\n" % (field, field)) is False


NAME = set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
TARGET = set(range(0x21, 0x7F)) - set(b"#")
VALUE = {0x09, *range(0x20, 0x7F), *range(0x80, 0x100)}


@pytest.mark.parametrize(
    ("before", "behind", "allowed"),
    [
        (b"GET /", b" HTTP/1.1\r\nHost: a\r\n\r\n", TARGET),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX", b": y\r\n\r\n", NAME | set(b":")),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"y\r\n\r\n", VALUE),
    ],
)
def test_every_byte_wherever_it_is(before: bytes, behind: bytes, allowed: set[int]) -> None:
    """Sixteen bytes at a time or one by one, the same are let through."""
    for byte in range(256):
        for place in (0, 1, 7, 15, 16, 17, 30, 31, 32):
            run = b"x" * place + bytes([byte]) + b"x" * (32 - place)
            assert bool(read(before + run + behind)) == (byte in allowed)


@given(ordinary_requests(), st.integers(20, 400), st.integers(1, 70), st.integers(1, 12))
def test_limits_are_at_least_as_strict(head: bytes, size: int, target: int, fields: int) -> None:
    request = read(head, head=size, target=target, fields=fields)
    assert request is not None
    if request:
        assert general(head, size, target, fields) is not None
    else:
        count = head.count(b"\r\n") - 2
        assert (
            len(head) + count > size
            or len(head.split(b" ")[1]) > target
            or count > fields
        )  # fmt: skip


def test_a_head_is_within_its_limit_as_it_came_and_as_it_will_be_written() -> None:
    head = b"GET / HTTP/1.1\r\nHost:a\r\nA:b\r\nC:\r\n\r\n"
    assert read(head, head=len(head) + 3)
    assert read(head, head=len(head) + 2) is False
    assert general(head, head=len(head) + 3) is not None


@pytest.mark.parametrize("length", [1, 15, 16, 17, 63, 64])
def test_a_limit_is_met_before_the_head_is_whole(length: int) -> None:
    """Nobody has to wait for an end that can't be plain any more."""
    assert read(b"GET /" + b"a" * length, target=length) is False
    assert read(b"GET /" + b"a" * length, target=length + 1) is None
    assert read(b"GET /" + b"a" * length, head=length + 5) is False
    assert read(b"GET /" + b"a" * length, head=length + 6) is None
    many = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * length
    assert read(many, fields=length + 1) is (None if length < 64 else False)
    assert read(many + b"A", fields=length + 1) is False


def test_the_largest_head() -> None:
    """A span has sixteen bits; so no plain head is longer than they reach."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\nY: z\r\n\r\n"
    room = 65535 - len(head) + 2
    request = read(head % (b"x" * room), head=100_000)
    assert request
    assert request.parts[3][2] == (b"Y", b"y", b"z")
    assert read(head % (b"x" * (room + 1)), head=100_000) is False
    assert read(head[:28] + b"x" * 65535, head=100_000) is False


def test_a_declared_body_over_the_limit_is_not_plain() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
    assert read(head, body=10)
    assert read(head, body=9) is False
    assert read(SMALL, body=0)


@pytest.mark.parametrize("pieces", [(), (b"",) * 5])
def test_client_lines_have_one_to_four_pieces(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match=f"1 to 4 pieces, not {len(pieces)}"):
        ClientLines(*pieces)


def test_client_lines_have_as_many_pieces_with_quotes() -> None:
    with pytest.raises(ValueError, match="2 pieces, but 1 with quotes"):
        ClientLines(b"", b"", quoting=(b"",))


SCHEMES = st.sampled_from(
    [b",", b" ", b"\t", *b'NTLM ntlm Negotiate Kerberos nego2 CredSSP Basic x - " = 2'.split()]
)


@given(st.sampled_from([b"Authorization", b"www-Authenticate"]), st.lists(SCHEMES, max_size=6))
@example(b"Authorization", [])
def test_what_makes_a_connection_personal_is_not_plain(name: bytes, pieces: list[bytes]) -> None:
    value = b"".join(pieces).strip(b" \t")
    request = read(b"GET / HTTP/1.1\r\nHost: a\r\n%b: %b\r\n\r\n" % (name, value))
    assert bool(request) is not makes_personal([(name, value)])


@pytest.mark.parametrize("value", [b"true", b"false", b""])
def test_persistent_auth_is_left_to_the_slow_path(value: bytes) -> None:
    assert not read(b"GET / HTTP/1.1\r\nHost: a\r\nPersistent-Auth: %b\r\n\r\n" % value)
    assert makes_personal([(b"Persistent-Auth", value)]) == (value != b"false")
