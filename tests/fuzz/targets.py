"""What fuzzing runs: from a peer's bytes to what the other side would get, without sockets.

A target takes any bytes and raises only if the product is wrong: an exception that is no verdict,
a verdict that depends on how the bytes were split on their way, or something passed on that the
strictest parser does not read as exactly what was accepted.
"""

from __future__ import annotations

from functools import partial
from ipaddress import ip_network
from itertools import chain
from typing import TYPE_CHECKING, Final

from tests.oracle import test_framing, test_wire_requests, test_wire_responses
from tests.support.strict_http import Fields, read_requests, read_response
from trio_lb.config import ForwardedField
from trio_lb.errors import ClientError, ClientGone, RequestError, ResponseBroken
from trio_lb.http.admission import AdmittedRequest, admit
from trio_lb.http.forwarding import request_lines, request_target, response_lines, trailer_lines
from trio_lb.http.heads import RequestHead, ResponseHead
from trio_lb.http.identity import Identification
from trio_lb.http.proxy_protocol import parse, write_v1, write_v2
from trio_lb.http1 import compiled_codec, h11_codec
from trio_lb.http1.codec import END, NEED_DATA, ClientCodec, Codecs, ServerCodec, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from trio_lb.http.heads import FieldLine

HEAD_LIMIT: Final = 2048
TARGET_LIMIT: Final = 512
FIELD_LIMIT: Final = 20

_IDENTIFICATION: Final = Identification((ip_network("192.0.2.0/24"),), ForwardedField.ON)
_PEER: Final = _IDENTIFICATION.peer(("192.0.2.1", 4711), ("192.0.2.2", 80))

#: A message as it was read: its parts for comparison, and the bytes that pass it on.
Message = tuple[object, bytes, Fields, bytes]


class Verdict:
    """What came of the bytes of one connection.

    Attributes:
        messages: those that were accepted, in order.
        end: how it ended. The reason of an error is left out: of several, it is the first to be
            seen, and that may be another one for another split.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.end = "open"

    @property
    def outline(self) -> object:
        """What must not depend on how the bytes were split; chunks may, on their way out."""
        return [message[:3] for message in self.messages], self.end

    def __repr__(self) -> str:
        return f"<Verdict {self.messages} {self.end}>"


def requests(data: bytes) -> None:
    """A client's bytes, up to the end of its stream."""
    verdicts = _same_for_both_codecs(data, _read_requests)
    for head, body, trailers, passed_on in chain.from_iterable(
        verdict.messages for verdict in verdicts
    ):
        assert isinstance(head, AdmittedRequest)
        found, rest = read_requests(passed_on)
        assert len(found) == 1, (passed_on, found)
        assert not rest, (passed_on, rest)
        (request,) = found
        assert request.method == head.method.decode()
        assert request.target == head.target.decode()
        assert (request.body, request.trailers) == (body, trailers)
        assert request.host == ("server:80" if head.host is None else head.host.decode())


def responses(data: bytes) -> None:
    """A server's bytes: its method of request is told by the first byte, up to the stream's end."""
    method = b"HEAD" if data[:1] == b"H" and data[:5] != b"HTTP/" else b"GET"
    data = data.removeprefix(b"H") if method == b"HEAD" else data
    verdicts = _same_for_both_codecs(data, partial(_read_responses, method))
    for head, body, trailers, passed_on in chain.from_iterable(
        verdict.messages for verdict in verdicts
    ):
        assert isinstance(head, ResponseHead)
        rest = passed_on
        while rest.startswith(b"HTTP/1.1 1"):  # interim ones, before it
            interim = read_response(rest, method.decode(), closed=False)
            assert interim is not None
            rest = rest[len(interim.raw) :]
        response = read_response(rest, method.decode(), closed=True)
        assert response is not None
        assert response.raw == rest, passed_on
        assert not response.cut
        assert (response.status, response.body) == (head.status, body)
        assert response.trailers == trailers


def proxy_headers(data: bytes) -> None:
    """A PROXY header: what is read can be written, and reads the same; no prefix says more."""
    whole = _proxy_header(data)
    for size in range(min(len(data), 300)):
        part = _proxy_header(data[:size])
        assert part is None or part == whole, (size, part, whole)
    if isinstance(whole, tuple):
        header, size = whole
        assert _proxy_header(data[:size]) == whole
        assert _proxy_header(write_v2(header)) is not None
        for written in (write_v1(header), write_v2(header)):
            again = parse(written)
            assert again is not None
            assert again[1] == len(written)
            if header.source is not None and header.destination is not None:
                assert again[0] == header


def _proxy_header(data: bytes) -> object:
    try:
        return parse(data)
    except ClientError as exc:
        return str(exc)


def ordinary_requests(data: bytes) -> None:
    """The compiled codec: what it calls a request's head, the slow path reads the same."""
    head = test_wire_requests.check(data)
    for size in range(0, len(data), max(1, len(data) // 8)):
        part = test_wire_requests.check(data[:size])
        if part:
            assert head
            assert part.length == head.length


def ordinary_responses(data: bytes) -> None:
    """The same for the heads of responses, to GET and to HEAD."""
    for method in (b"GET", b"HEAD"):
        test_wire_responses.check(data, method)


def ordinary_chunks(data: bytes) -> None:
    """The compiled framing: what it lets pass of a chunked body, others read the same."""
    test_framing.check(data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "requests": requests,
    "responses": responses,
    "proxy_headers": proxy_headers,
    "ordinary_requests": ordinary_requests,
    "ordinary_responses": ordinary_responses,
    "ordinary_chunks": ordinary_chunks,
}


def _same_for_both_codecs(
    data: bytes, read: Callable[[Codecs, Iterable[bytes]], Verdict]
) -> list[Verdict]:
    verdicts = _same_for_every_split(data, partial(read, compiled_codec.CODECS))
    referee = _same_for_every_split(data, partial(read, h11_codec.CODECS))
    assert verdicts[0].outline == referee[0].outline, (verdicts, referee)
    return verdicts


def _same_for_every_split(data: bytes, read: Callable[[Iterable[bytes]], Verdict]) -> list[Verdict]:
    verdicts = [read([data]), read([data[: len(data) // 2], data[len(data) // 2 :]])]
    if len(data) <= HEAD_LIMIT:
        verdicts.append(read(data[at : at + 1] for at in range(len(data))))
    for verdict in verdicts[1:]:
        assert verdict.outline == verdicts[0].outline, verdicts
    return verdicts


def _messages(verdicts: list[Verdict]) -> Iterator[Message]:
    return chain.from_iterable(verdict.messages for verdict in verdicts)


class _Feed:
    """Pieces for a codec, then the end of the stream."""

    def __init__(self, side: ClientCodec | ServerCodec, pieces: Iterable[bytes]) -> None:
        self._side = side
        self._pieces: Iterator[bytes] = (piece for piece in pieces if piece)
        self.ended = False

    def more(self) -> None:
        piece = next(self._pieces, b"")
        self.ended = not piece
        self._side.feed(piece)


def _read_requests(codecs: Codecs, pieces: Iterable[bytes]) -> Verdict:
    verdict = Verdict()
    side = codecs.client(HEAD_LIMIT, TARGET_LIMIT, FIELD_LIMIT)
    feed = _Feed(side, pieces)
    try:
        while side is not None:
            head = side.read_head()
            if isinstance(head, RequestHead):
                verdict.messages.append(_read_request(side, codecs.server(), feed, head))
                side.response(200, b"", [(b"Content-Length", b"0")])
                side.end([])
                if not side.may_go_on:
                    verdict.end = "last"
                    break
                side.start_next_cycle()
            elif head is END or feed.ended:
                verdict.end = "ended"
                break
            else:
                feed.more()
    except RequestError as exc:
        verdict.end = f"answered with {exc.status}"
    except ClientGone:
        verdict.end = "gone"
    return verdict


def _read_request(
    side: ClientCodec, server: ServerCodec, feed: _Feed, head: RequestHead
) -> Message:
    admitted = admit(head)
    target = request_target(admitted.target, b"")
    identity = _IDENTIFICATION.identify(_PEER, head.fields, admitted.host)
    lines = request_lines(admitted, identity, b"id", b"server:80")
    passed_on = server.request(admitted.method, target, lines)
    body = b""
    while (part := side.read_body()) is not END:
        if part is NEED_DATA:
            feed.more()
        else:
            assert not isinstance(part, Signal)
            body += part
            passed_on += server.body(part)
    trailers = trailer_lines(side.trailers)
    passed_on += server.end(trailers)
    return admitted, body, _fields(trailers), passed_on


def _read_responses(method: bytes, codecs: Codecs, pieces: Iterable[bytes]) -> Verdict:
    verdict = Verdict()
    side = codecs.server()
    side.request(method, b"/", [(b"Host", b"a")])
    side.end([])
    feed = _Feed(side, pieces)
    client = codecs.client(HEAD_LIMIT, TARGET_LIMIT, FIELD_LIMIT)
    client.feed(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method)
    client.read_head()
    client.read_body()
    passed_on = b""
    try:
        while True:
            head = side.read_head()
            if not isinstance(head, ResponseHead):
                feed.more()
            elif head.status < 200:
                passed_on += client.informational(head.status, head.reason, response_lines(head))
            else:
                break
        verdict.messages.append(_read_response(side, client, feed, head, passed_on))
        verdict.end = "complete"
    except ResponseBroken:
        verdict.end = "broken"
    return verdict


def _read_response(
    side: ServerCodec, client: ClientCodec, feed: _Feed, head: ResponseHead, passed_on: bytes
) -> Message:
    body = b""
    passed_on += client.response(head.status, head.reason, response_lines(head))
    while (part := side.read_body()) is not END:
        if part is NEED_DATA:
            feed.more()
        else:
            assert not isinstance(part, Signal)
            body += part
            passed_on += client.body(part)
    trailers = trailer_lines(side.trailers)
    passed_on += client.end(trailers)
    return head, body, _fields(trailers), passed_on


def _fields(lines: list[FieldLine]) -> Fields:
    return tuple((name.decode().lower(), value.decode("latin-1")) for name, value in lines)
