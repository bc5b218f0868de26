"""HTTP/1.1 by h11, for both of our sides: bytes to parts of messages and back.

`ClientCodec` speaks to a client (reads requests, writes responses), `ServerCodec` to a server. Both
answer a read in one of three ways: a part of the message, `END` (of the message, or of the
connection between messages), or `NEED_DATA` (feed more bytes, then ask again). What the peer did
wrong is raised as the error class that says whose fault it was.

h11 is shown nothing of a message that a gate of ours (`strict`, `chunks`) has not checked, and
nothing of what comes behind it.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Final

import h11

from trio_lb.errors import ClientError, ClientGone, ResponseBroken
from trio_lb.http.framing import Delimiter, Framing
from trio_lb.http.heads import Field, FieldLine, RequestHead, ResponseHead

from . import serialise
from .chunks import BodyGate, Chunked, Sized, UntilClose
from .strict import RequestGate, ResponseGate, Violation


class Signal(Enum):
    """What a read may answer instead of a part of a message."""

    NEED_DATA = "feed more bytes, then ask again"
    END = "the message, or the connection between two messages, is over"


NEED_DATA: Final = Signal.NEED_DATA
END: Final = Signal.END

_ANY_HOST = [(b"Host", b"any")]

# h11 keeps the states and the framing of what we send, and needs to see nothing else of it. So it
# is shown skeletons, most of which are made once; the heads are written by `serialise`.
_SHOWN = frozenset({b"content-length", b"transfer-encoding", b"upgrade"})
_BODILESS = {
    method: h11.Request(method=method, target=b"/", headers=_ANY_HOST)
    for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"POST")
}
_NO_TRAILERS = h11.EndOfMessage()
_NO_BODY = Sized(0)

# A client that has sent its request is DONE, or, if it offers another protocol (Upgrade), in a
# state of its own until we answer. Only a 101 (`informational`) accepts; then `leave_http` follows.
_INCOMPLETE = (h11.IDLE, h11.SEND_BODY, h11.ERROR)
_LAST = (*_INCOMPLETE, h11.MUST_CLOSE, h11.CLOSED)

#: Servers are given more room than clients: they are ours, and set many cookies.
RESPONSE_HEAD_LIMIT = 64 * 1024
RESPONSE_FIELD_LIMIT = 1000

#: Interim (1xx) responses before the final one; a server that floods us with them is broken.
INTERIM_LIMIT = 100


class _Side:
    """What comes from a peer, on its way through a gate to h11."""

    __slots__ = ("_body", "_conn", "_data", "_ended", "trailers")

    def __init__(self, conn: h11.Connection) -> None:
        self._conn = conn
        self._data = b""
        self._ended = False
        self._body: BodyGate = _NO_BODY
        self.trailers: list[FieldLine] = []

    def feed(self, data: bytes) -> None:
        """Take in what was received; `b""` for the end of the stream."""
        self._data = self._data + data if self._data else data
        self._ended = self._ended or not data

    def _let(self, size: int) -> None:
        """Let so many bytes pass; nothing at all is the end of the stream."""
        self._conn.receive_data(self._take(size))

    def _take(self, size: int) -> bytes:
        data = self._data
        if size == len(data):
            self._data = b""
        else:
            data, self._data = data[:size], data[size:]
        return data

    def leave_http(self) -> bytes:
        """After a 101: what has come behind the HTTP, in whatever protocol."""
        rest, self._data = self._data, b""
        # No message is complete any more, and the old connection would keep its buffer.
        self._conn = h11.Connection(self._conn.our_role)
        return rest

    def _next_part(self) -> bytes | Signal:
        """The next piece of a body.

        Raises:
            Violation: it is malformed.
            h11.RemoteProtocolError: it was broken off.
        """
        conn, body = self._conn, self._body
        while True:
            size = 0
            if self._data and (size := body.advance(self._data)):
                passed = self._take(size)
                # Of trailers, h11 would refuse what looks like framing, and that is left out later.
                conn.receive_data(passed if body.trailers is None else b"\r\n")
            elif self._ended:
                conn.receive_data(b"")
            event = conn.next_event()
            if type(event) is h11.Data:
                return event.data
            if type(event) is h11.EndOfMessage:
                self.trailers = body.trailers or []
                return END
            if not self._ended and not (size and self._data):
                return NEED_DATA


class ClientCodec(_Side):
    """The connection with a client, seen from here: requests in, responses out.

    Args:
        head_limit: largest request head in bytes, request line included.
        target_limit: largest request target in bytes.
        field_limit: largest number of field lines.
    """

    __slots__ = (
        "_chunk_left",
        "_chunking",
        "_field_limit",
        "_gate",
        "_head_limit",
        "ends_by_closing",
    )

    def __init__(self, head_limit: int, target_limit: int, field_limit: int) -> None:
        super().__init__(h11.Connection(h11.SERVER))
        self._gate = RequestGate(head_limit, target_limit, field_limit)
        self._head_limit = head_limit
        self._field_limit = field_limit
        self._chunking = False
        self._chunk_left: int | None = None
        #: The response under way has no framing of its own: nothing but closing ends it.
        self.ends_by_closing = False

    def take_unread(self) -> bytes:
        """Between two messages: give up what was fed of the next one, for somebody else to read."""
        unread, self._data = self._data, b""
        return unread

    def go_on_in_chunk(self, left: int) -> None:
        """The next request's body was read by somebody else, up to `left` bytes of a chunk."""
        self._chunk_left = left

    @property
    def begun(self) -> bool:
        """Bytes have come of a request whose head isn't complete yet."""
        return bool(self._data)

    def read_head(self) -> RequestHead | Signal:
        """The next request's head.

        Raises:
            ClientError: malformed (400), too large (414, 431), an unknown coding (501) or
                version (505).
        """
        if self._data.startswith(b"\r\n"):
            self._data = self._gate.skip(self._data)
        size = self._gate.end(self._data)
        if not size:
            if not self._ended:
                return NEED_DATA
            if self._data:
                raise ClientError("the request head is incomplete")
        self._let(size)
        try:
            event = self._conn.next_event()
        except h11.RemoteProtocolError as exc:
            raise ClientError("the request is malformed", exc.error_status_hint) from exc
        if type(event) is not h11.Request:
            return END  # h11.ConnectionClosed
        framing = self._gate.framing
        self._body = self._body_gate(framing)
        self.trailers = []
        return RequestHead(event.method, event.target, event.http_version, _fields(event), framing)

    def _body_gate(self, framing: Framing) -> BodyGate:
        if framing.delimiter is Delimiter.CHUNKED:
            left, self._chunk_left = self._chunk_left, None
            if left is not None:
                # h11 has to know of the chunk, so it is shown one with a byte more, and that byte.
                self._conn.receive_data(b"%x\r\n-" % (left + 1))
                self._conn.next_event()
            return Chunked(self._head_limit, self._field_limit, left)
        return Sized(framing.length) if framing.length else _NO_BODY

    def read_body(self) -> bytes | Signal:
        """The next piece of the request's body; after END, `trailers` are known.

        Raises:
            ClientError: the framing is broken (400), or the trailers are too large (431).
            ClientGone: the stream ended in the middle of the body.
        """
        try:
            return self._next_part()
        except Violation as exc:
            raise ClientError(exc.reason, exc.status) from exc
        except h11.RemoteProtocolError as exc:
            raise ClientGone("the client disconnected while it sent the request body") from exc

    def informational(self, status: int, reason: bytes, lines: list[FieldLine]) -> bytes:
        """The bytes of a 1xx response; none for an HTTP/1.0 client (RFC 9110 section 15.2)."""
        if self._gate.version != b"1.1":
            return b""
        event = h11.InformationalResponse(status_code=status, headers=lines, reason=reason)
        return self._conn.send(event)

    def response(
        self, status: int, reason: bytes, lines: list[FieldLine], *, close: bool = False
    ) -> bytes:
        """The bytes of a response's head.

        Without Content-Length the body goes out chunked, or, to an HTTP/1.0 client, ends with the
        connection. That the connection ends after it is said (RFC 9112 section 9.6) if `close` is
        true, the client wants it so, or its request is not complete.
        """
        length = next((value for name, value in lines if name.lower() == b"content-length"), None)
        framed = length is not None or self.head_only or status in (204, 304)
        self._chunking = not framed and self._gate.version == b"1.1"
        self.ends_by_closing = not framed and not self._chunking
        close = close or self._conn.their_state in _LAST
        shown = b"0" if self.head_only else length  # h11 doesn't know a HEAD that was refused
        self._conn.send(_response_skeleton(status, shown, self._chunking, close))
        # An offer to switch hides what the client wants until now that it is declined.
        close = close or self._conn.their_state in _LAST
        if self._chunking:
            lines = [*lines, (b"Transfer-Encoding", b"chunked")]
        if close:
            lines = [*lines, (b"Connection", b"close")]
        return serialise.response_head(status, reason, lines)

    def body(self, data: bytes) -> bytes:
        """The bytes of a piece of the response's body."""
        return self._conn.send(h11.Data(data=data))

    def end(self, trailers: list[FieldLine]) -> bytes:
        """The bytes that end the response; trailers go out only where the framing has room."""
        end = h11.EndOfMessage(headers=trailers) if trailers and self._chunking else _NO_TRAILERS
        return self._conn.send(end)

    @property
    def head_only(self) -> bool:
        """The request is a HEAD: its response has no body, whatever its fields say."""
        method = self._gate.method
        return method == b"HEAD" or (not method and self._data.startswith(b"HEAD "))

    @property
    def may_go_on(self) -> bool:
        """Both messages are complete and both sides keep the connection."""
        return self._conn.our_state is h11.DONE and self._conn.their_state is h11.DONE

    @property
    def request_complete(self) -> bool:
        """The whole request was read: closing now resets nothing that is still on its way."""
        return self._conn.their_state not in _INCOMPLETE

    def start_next_cycle(self) -> None:
        """Make ready for the next request; only where `may_go_on`."""
        self._conn.start_next_cycle()
        self._gate.reset()


class ServerCodec(_Side):
    """The connection with a server for one request: the request out, the response in."""

    __slots__ = ("_fed", "_gate", "_interim")

    def __init__(self) -> None:
        super().__init__(h11.Connection(h11.CLIENT))
        self._gate = ResponseGate(RESPONSE_HEAD_LIMIT, RESPONSE_FIELD_LIMIT)
        self._fed = False
        self._interim = 0

    def request(self, method: bytes, target: bytes, lines: list[FieldLine]) -> bytes:
        """The bytes of the request's head."""
        shown = [line for line in lines if line[0].lower() in _SHOWN]
        skeleton = None if shown else _BODILESS.get(method)
        if skeleton is None:
            skeleton = h11.Request(method=method, target=b"/", headers=[*_ANY_HOST, *shown])
        self._conn.send(skeleton)
        self._gate.method = method
        return serialise.request_head(method, target, lines)

    def body(self, data: bytes) -> bytes:
        """The bytes of a piece of the request's body."""
        return self._conn.send(h11.Data(data=data))

    def end(self, trailers: list[FieldLine]) -> bytes:
        """The bytes that end the request."""
        return self._conn.send(h11.EndOfMessage(headers=trailers) if trailers else _NO_TRAILERS)

    def feed(self, data: bytes) -> None:
        if data:
            self._fed = True
        super().feed(data)

    @property
    def answered(self) -> bool:
        """At least one byte of the response has come."""
        return self._fed

    def read_head(self) -> ResponseHead | Signal:
        """The next head: 1xx ones come before the final one.

        Raises:
            ResponseBroken: the stream ended before a whole head, it is malformed, or there are
                too many interim ones.
        """
        size = self._gate.end(self._data)
        if not size:
            if self._ended:
                raise ResponseBroken("the server closed the connection without a response")
            return NEED_DATA
        self._let(size)
        try:
            event = self._conn.next_event()
        except h11.RemoteProtocolError as exc:
            raise ResponseBroken("the server sent a malformed response") from exc
        assert type(event) is h11.Response or type(event) is h11.InformationalResponse
        framing = self._gate.framing
        status, version = event.status_code, event.http_version
        head = ResponseHead(status, event.reason, version, _fields(event), framing)
        if status < 200:
            self._interim += 1
            if self._interim > INTERIM_LIMIT:
                raise ResponseBroken("the server sent too many interim responses")
        else:
            self._body = _response_body_gate(framing)
        return head

    def read_body(self) -> bytes | Signal:
        """The next piece of the response's body; after END, `trailers` are known.

        Raises:
            ResponseBroken: the stream ended early or the framing is broken.
        """
        try:
            return self._next_part()
        except (Violation, h11.RemoteProtocolError) as exc:
            raise ResponseBroken("the server closed the connection during its response") from exc

    @property
    def reusable(self) -> bool:
        """Both messages are complete, both sides keep the connection, and no byte is left over."""
        conn = self._conn
        return (
            conn.our_state is h11.DONE
            and conn.their_state is h11.DONE
            and not self._data
            and not self._ended
        )

    @property
    def switched(self) -> bool:
        """A 101 was read, after the end of a request that offered another protocol."""
        return self._conn.our_state is h11.SWITCHED_PROTOCOL


def _response_body_gate(framing: Framing) -> BodyGate:
    if framing.delimiter is Delimiter.CHUNKED:
        return Chunked(RESPONSE_HEAD_LIMIT, RESPONSE_FIELD_LIMIT, padded=True)
    if framing.length is None:
        return UntilClose()
    return Sized(framing.length) if framing.length else _NO_BODY


@lru_cache(maxsize=1024)
def _response_skeleton(
    status: int, length: bytes | None, chunking: bool, close: bool
) -> h11.Response:
    lines = [(b"Content-Length", length)] if length is not None else []
    if chunking:
        lines.append((b"Transfer-Encoding", b"chunked"))
    if close:
        lines.append((b"Connection", b"close"))
    return h11.Response(status_code=status, headers=lines)


def _fields(event: h11.Request | h11.Response | h11.InformationalResponse) -> list[Field]:
    return [(name, name.lower(), value) for name, value in event.headers.raw_items()]
