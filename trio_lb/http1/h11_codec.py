"""HTTP/1.1 by h11: what takes messages apart with `fast_path: off`.

h11 is shown nothing of a message that a gate of ours (`strict`, `chunks`) has not checked, and
nothing of what comes behind it.
"""

from __future__ import annotations

from functools import lru_cache

import h11

from trio_lb.http.framing import Delimiter, Framing
from trio_lb.http.heads import Field, FieldLine, RequestHead, ResponseHead

from .chunks import BodyGate, Chunked, Sized, UntilClose
from .codec import (
    END,
    NEED_DATA,
    ClientCodec,
    Codecs,
    CutShort,
    ServerCodec,
    Side,
    Signal,
    response_chunk_lines,
)
from .strict import Violation

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


class _ByH11(Side):
    """A side whose states h11 keeps, and whose bodies it reads."""

    __slots__ = ()
    _conn: h11.Connection
    _incoming: BodyGate

    def _next_part(self) -> bytes | Signal:
        try:
            return self._next_event()
        except h11.RemoteProtocolError as exc:
            raise CutShort from exc

    def _next_event(self) -> bytes | Signal:
        conn, gate = self._conn, self._incoming
        while True:
            size = 0
            if self._data and (size := gate.advance(self._data)):
                passed = self._take(size)
                # Of trailers, h11 would refuse what looks like framing, and that is left out later.
                conn.receive_data(passed if gate.trailers is None else b"\r\n")
            elif self._ended:
                conn.receive_data(b"")
            event = conn.next_event()
            if type(event) is h11.Data:
                return event.data
            if type(event) is h11.EndOfMessage:
                self.trailers = gate.trailers or []
                return END
            if not self._ended and not (size and self._data):
                return NEED_DATA

    def _read_event(self, data: bytes) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        self._conn.receive_data(data)
        try:
            return self._conn.next_event()
        except h11.RemoteProtocolError as exc:
            raise Violation("the request is malformed", exc.error_status_hint) from exc

    def body(self, data: bytes) -> bytes:
        return self._conn.send(h11.Data(data=data))


class H11ClientCodec(_ByH11, ClientCodec):
    """As `ClientCodec` has it."""

    __slots__ = ("_conn", "_incoming")

    def __init__(self, head_limit: int, target_limit: int, field_limit: int) -> None:
        super().__init__(head_limit, target_limit, field_limit)
        self._conn = h11.Connection(h11.SERVER)
        self._incoming = _NO_BODY

    def _forget(self) -> None:
        # Of the old connection, h11 would keep what it has buffered, too.
        self._conn = h11.Connection(h11.SERVER)

    def _parse_head(self, data: bytes) -> RequestHead:
        event = self._read_event(data)
        assert type(event) is h11.Request
        framing = self._gate.framing
        self._incoming = self._body_gate(framing)
        return RequestHead(event.method, event.target, event.http_version, _fields(event), framing)

    def _body_gate(self, framing: Framing) -> BodyGate:
        if framing.delimiter is Delimiter.CHUNKED:
            left, self._chunk_left = self._chunk_left, None
            if left is not None:
                # h11 has to know of the chunk, so it is shown one with a byte more, and that byte.
                self._conn.receive_data(b"%x\r\n-" % (left + 1))
                self._conn.next_event()
            return Chunked(self._chunk_lines(), left)
        return Sized(framing.length) if framing.length else _NO_BODY

    def _show_informational(self, status: int, lines: list[FieldLine]) -> None:
        self._conn.send(h11.InformationalResponse(status_code=status, headers=lines))

    def _show_response(self, status: int, length: bytes | None, close: bool) -> bool:
        close = close or self._conn.their_state in _LAST
        self._conn.send(_response_skeleton(status, length, self._chunking, close))
        # An offer to switch hides what the client wants until now that it is declined.
        return close or self._conn.their_state in _LAST

    def end(self, trailers: list[FieldLine]) -> bytes:
        end = h11.EndOfMessage(headers=trailers) if trailers and self._chunking else _NO_TRAILERS
        return self._conn.send(end)

    @property
    def may_go_on(self) -> bool:
        return self._conn.our_state is h11.DONE and self._conn.their_state is h11.DONE

    @property
    def request_complete(self) -> bool:
        return self._conn.their_state not in _INCOMPLETE

    def start_next_cycle(self) -> None:
        super().start_next_cycle()
        self._conn.start_next_cycle()


class H11ServerCodec(_ByH11, ServerCodec):
    """As `ServerCodec` has it."""

    __slots__ = ("_conn", "_incoming")

    def __init__(self) -> None:
        super().__init__()
        self._conn = h11.Connection(h11.CLIENT)
        self._incoming = _NO_BODY

    def _forget(self) -> None:
        self._conn = h11.Connection(h11.CLIENT)

    def _show_request(self, method: bytes, lines: list[FieldLine]) -> None:
        shown = [line for line in lines if line[0].lower() in _SHOWN]
        skeleton = None if shown else _BODILESS.get(method)
        if skeleton is None:
            skeleton = h11.Request(method=method, target=b"/", headers=[*_ANY_HOST, *shown])
        self._conn.send(skeleton)

    def end(self, trailers: list[FieldLine]) -> bytes:
        return self._conn.send(h11.EndOfMessage(headers=trailers) if trailers else _NO_TRAILERS)

    def _parse_head(self, data: bytes) -> ResponseHead:
        event = self._read_event(data)
        assert type(event) is h11.Response or type(event) is h11.InformationalResponse
        framing = self._gate.framing
        if event.status_code >= 200:
            self._incoming = _response_body_gate(framing)
        fields = _fields(event)
        return ResponseHead(event.status_code, event.reason, event.http_version, fields, framing)

    @property
    def _complete(self) -> bool:
        return self._conn.our_state is h11.DONE and self._conn.their_state is h11.DONE

    @property
    def switched(self) -> bool:
        return self._conn.our_state is h11.SWITCHED_PROTOCOL


#: By h11.
CODECS = Codecs(H11ClientCodec, H11ServerCodec)


def _response_body_gate(framing: Framing) -> BodyGate:
    if framing.delimiter is Delimiter.CHUNKED:
        return Chunked(response_chunk_lines())
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
