"""HTTP/1.1 by h11, for both of our sides: bytes to parts of messages and back.

`ClientSide` speaks to a client (reads requests, writes responses), `ServerSide` to a server. Both
answer a read in one of three ways: a part of the message, `END` (of the message, or of the
connection between messages), or `NEED_DATA` (feed more bytes, then ask again). What the peer did
wrong is raised as the error class that says whose fault it was.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Final

import h11

from trio_lb.errors import ClientError, ClientGone, ResponseBroken

from . import serialise
from .heads import Field, FieldLine, RequestHead, ResponseHead


class Signal(Enum):
    """What a read may answer instead of a part of a message."""

    NEED_DATA = "feed more bytes, then ask again"
    END = "the message, or the connection between two messages, is over"


NEED_DATA: Final = Signal.NEED_DATA
END: Final = Signal.END

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_ANY_HOST = [(b"Host", b"any")]

# h11 keeps the states and the framing of what we send, and needs to see nothing else of it. So it
# is shown skeletons, most of which are made once; the heads are written by `serialise`.
_BODILESS = {
    method: h11.Request(method=method, target=b"/", headers=_ANY_HOST)
    for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"POST")
}
_NO_TRAILERS = h11.EndOfMessage()

# A client that has sent its request is DONE, or, if it offers another protocol (Upgrade), in a
# state of its own until we answer; we never accept, so that makes no difference.
_INCOMPLETE = (h11.IDLE, h11.SEND_BODY, h11.ERROR)
_LAST = (*_INCOMPLETE, h11.MUST_CLOSE, h11.CLOSED)

#: Servers are given more room than clients: they are ours, and set many cookies.
RESPONSE_HEAD_LIMIT = 64 * 1024

#: Interim (1xx) responses before the final one; a server that floods us with them is broken.
INTERIM_LIMIT = 100


class ClientSide:
    """The connection with a client, seen from here: requests in, responses out.

    Args:
        head_limit: largest request head in bytes, request line included.
        target_limit: largest request target in bytes.
        field_limit: largest number of field lines.
    """

    __slots__ = (
        "_chunking",
        "_conn",
        "_field_limit",
        "_head_limit",
        "_method",
        "_target_limit",
        "_version",
        "ends_by_closing",
        "trailers",
    )

    def __init__(self, head_limit: int, target_limit: int, field_limit: int) -> None:
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=head_limit)
        self._head_limit = head_limit
        self._target_limit = target_limit
        self._field_limit = field_limit
        self._method = self._version = b""
        self._chunking = False
        #: The response under way has no framing of its own: nothing but closing ends it.
        self.ends_by_closing = False
        self.trailers: list[FieldLine] = []

    def feed(self, data: bytes) -> None:
        """Take in what was received; `b""` for the end of the stream."""
        self._conn.receive_data(data)

    @property
    def unread(self) -> bytes:
        """Bytes that were fed and not read yet."""
        return self._conn.trailing_data[0]

    @property
    def begun(self) -> bool:
        """Bytes have come of a request whose head isn't complete yet."""
        return bool(self._conn.trailing_data[0])

    def read_head(self) -> RequestHead | Signal:
        """The next request's head.

        Raises:
            ClientError: malformed (400), too large (414, 431), unknown coding (501).
        """
        try:
            event = self._conn.next_event()
        except h11.RemoteProtocolError as exc:
            raise self._head_error(exc) from exc
        if event is h11.NEED_DATA:
            return NEED_DATA
        if type(event) is h11.Request:
            head = RequestHead(event.method, event.target, event.http_version, _fields(event))
            self._method, self._version = head.method, head.version
            self.trailers = []
            self._check_size(head)
            return head
        return END  # h11.ConnectionClosed

    def read_body(self) -> bytes | Signal:
        """The next piece of the request's body; after END, `trailers` are known.

        Raises:
            ClientError: the framing is broken.
            ClientGone: the stream ended in the middle of the body.
        """
        conn = self._conn
        try:
            event = conn.next_event()
        except h11.RemoteProtocolError as exc:
            if conn.trailing_data[1]:
                raise ClientGone("the client left while it sent a body") from exc
            raise ClientError("the request body is malformed") from exc
        if type(event) is h11.Data:
            return event.data
        if type(event) is h11.EndOfMessage:
            self.trailers = event.headers.raw_items() if event.headers else []
            return END
        return NEED_DATA

    def informational(self, status: int, reason: bytes, lines: list[FieldLine]) -> bytes:
        """The bytes of a 1xx response; none for an HTTP/1.0 client (RFC 9110 section 15.2)."""
        if self._version != b"1.1":
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
        self._chunking = not framed and self._version == b"1.1"
        self.ends_by_closing = not framed and not self._chunking
        close = close or self._conn.their_state in _LAST
        self._conn.send(_response_skeleton(status, length, self._chunking, close))
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
        return self._method == b"HEAD"

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
        self._method = self._version = b""

    def _check_size(self, head: RequestHead) -> None:
        """h11 bounds incomplete heads only; one that arrives whole is measured here."""
        if len(head.target) > self._target_limit:
            raise ClientError("the request target is too long", 414)
        if len(head.fields) > self._field_limit:
            raise ClientError("the request has too many fields", 431)
        size = len(head.method) + len(head.target) + 12
        for name, _, value in head.fields:
            size += len(name) + len(value) + 4
        if size > self._head_limit:
            raise ClientError("the request head is too large", 431)

    def _head_error(self, exc: h11.RemoteProtocolError) -> ClientError:
        received, ended = self._conn.trailing_data
        if exc.error_status_hint == 431:
            if b"\n" not in received[: self._target_limit + 32]:
                return ClientError("the request target is too long", 414)
            return ClientError("the request head is too large", 431)
        if exc.error_status_hint == 501:
            return ClientError("the only transfer coding known here is chunked", 501)
        if ended:
            return ClientError("the request head is incomplete", 400)
        return ClientError("the request is malformed", 400)


class ServerSide:
    """The connection with a server for one request: the request out, the response in."""

    __slots__ = ("_conn", "_fed", "_interim", "trailers")

    def __init__(self) -> None:
        self._conn = h11.Connection(h11.CLIENT, max_incomplete_event_size=RESPONSE_HEAD_LIMIT)
        self._fed = False
        self._interim = 0
        self.trailers: list[FieldLine] = []

    def request(self, method: bytes, target: bytes, lines: list[FieldLine]) -> bytes:
        """The bytes of the request's head."""
        framing = [line for line in lines if line[0].lower() in _FRAMING]
        skeleton = None if framing else _BODILESS.get(method)
        if skeleton is None:
            skeleton = h11.Request(method=method, target=b"/", headers=[*_ANY_HOST, *framing])
        self._conn.send(skeleton)
        return serialise.request_head(method, target, lines)

    def body(self, data: bytes) -> bytes:
        """The bytes of a piece of the request's body."""
        return self._conn.send(h11.Data(data=data))

    def end(self, trailers: list[FieldLine]) -> bytes:
        """The bytes that end the request."""
        return self._conn.send(h11.EndOfMessage(headers=trailers) if trailers else _NO_TRAILERS)

    def feed(self, data: bytes) -> None:
        """Take in what was received; `b""` for the end of the stream."""
        if data:
            self._fed = True
        self._conn.receive_data(data)

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
        conn = self._conn
        try:
            event = conn.next_event()
        except h11.RemoteProtocolError as exc:
            if conn.trailing_data[1]:
                raise ResponseBroken("the server closed the connection without a response") from exc
            raise ResponseBroken("the server sent a malformed response") from exc
        if type(event) is h11.InformationalResponse:
            self._interim += 1
            if self._interim > INTERIM_LIMIT:
                raise ResponseBroken("the server sent too many interim responses")
        if type(event) is h11.Response or type(event) is h11.InformationalResponse:
            return ResponseHead(event.status_code, event.reason, event.http_version, _fields(event))
        if event is h11.NEED_DATA:
            return NEED_DATA
        raise ResponseBroken("the server closed the connection without a response")

    def read_body(self) -> bytes | Signal:
        """The next piece of the response's body; after END, `trailers` are known.

        Raises:
            ResponseBroken: the stream ended early or the framing is broken.
        """
        try:
            event = self._conn.next_event()
        except h11.RemoteProtocolError as exc:
            raise ResponseBroken("the server broke its response off") from exc
        if type(event) is h11.Data:
            return event.data
        if type(event) is h11.EndOfMessage:
            self.trailers = event.headers.raw_items() if event.headers else []
            return END
        return NEED_DATA

    @property
    def reusable(self) -> bool:
        """Both messages are complete, both sides keep the connection, and no byte is left over."""
        conn = self._conn
        return (
            conn.our_state is h11.DONE
            and conn.their_state is h11.DONE
            and conn.trailing_data == (b"", False)
        )


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
