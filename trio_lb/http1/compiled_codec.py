"""HTTP/1.1 by compiled code (`trio_lb.fast.http1`): what takes messages apart with `fast_path: on`.

Field lines and the data of chunks are taken apart by compiled code, behind the same gates as with
h11. It accepts what h11 does, reads and writes the same, and fails like it
(tests/oracle/test_codecs.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_lb.fast.http1 import (
    FRAMED_END,
    FRAMED_MORE,
    FRAMED_ODD,
    ChunkReader,
    read_fields,
    read_response,
)
from trio_lb.http.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, Delimiter, of_length
from trio_lb.http.heads import Field, FieldLine, RequestHead, ResponseHead

from . import serialise
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

if TYPE_CHECKING:
    from trio_lb.fast.http1 import Response
    from trio_lb.http.framing import Framing

    from .chunks import ChunkLines


class Misused(Exception):  # noqa: N818 -- a bug of ours, which nobody handles
    """What is to be sent does not go together with what was sent before."""


class _Body:
    """A body that comes from a peer, of a known length.

    Args:
        length: in bytes.

    Attributes:
        whole: all of it was read.
        over: and its reader was told so, which makes its message complete.
        until_close: it ends with its connection.
        trailers: behind it.
    """

    __slots__ = ("_left", "over", "trailers", "whole")
    until_close = False

    def __init__(self, length: int) -> None:
        self._left = length
        self.whole = not length
        self.over = False
        self.trailers: list[FieldLine] = []

    def read(self, data: bytes) -> tuple[bytes, bytes]:
        """A piece of the body, and what is left of `data`, which is not empty.

        If neither the piece nor `data` has changed, more is needed.

        Raises:
            Violation: it is malformed.
        """
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return data, b""
        self.whole = True
        return data[:left], data[left:]


class _BodyUntilClose(_Body):
    """A body that ends with its connection."""

    __slots__ = ()
    until_close = True

    def __init__(self) -> None:
        super().__init__(1)

    def read(self, data: bytes) -> tuple[bytes, bytes]:
        return data, b""


class _ChunkedBody(_Body):
    """A chunked body: compiled code reads what is plain, and the gate every other line.

    Args:
        lines: the gate.
        left: bytes to come of the chunk in which it is gone on with, if it is in one.
    """

    __slots__ = ("_chunks", "_lines")

    def __init__(self, lines: ChunkLines, left: int | None = None) -> None:
        super().__init__(1)
        self._lines = lines
        self._chunks = ChunkReader()
        if left is not None:
            self._chunks.go_on_in_chunk(left)

    def read(self, data: bytes) -> tuple[bytes, bytes]:
        chunks, lines = self._chunks, self._lines
        if lines.last:
            used = lines.read_trailers(data)
            if lines.trailers is not None:
                self.whole, self.trailers = True, lines.trailers
            return b"", data[used:]
        if chunks.state == FRAMED_MORE:
            part = chunks.read(data)
            if chunks.used or chunks.state == FRAMED_MORE:
                self.whole = chunks.state == FRAMED_END
                return part, data[chunks.used :]
        if chunks.state != FRAMED_ODD:
            raise Violation("a chunk is longer than its size")
        used = lines.read_size(data)
        if used and not lines.last:
            chunks.go_on_in_chunk(lines.size)
        return b"", data[used:]


class _Sent:
    """Our own message: its framing, and how far it is."""

    __slots__ = ("_chunked", "_left", "begun", "over")

    def __init__(self) -> None:
        self._chunked = False
        self._left: int | None = None
        self.begun = self.over = False

    def begin(self, length: int | None, *, chunked: bool) -> None:
        """Its head goes out; a body without length and chunks ends with the connection."""
        if self.begun:
            raise Misused("a second head")
        self.begun = True
        self._left = length
        self._chunked = chunked

    def body(self, data: bytes) -> bytes:
        """The bytes of a piece of its body."""
        if not self.begun or self.over:
            raise Misused("a body without a head")
        if self._chunked:
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise Misused("more of a body than its head says")
        return data

    def end(self, trailers: list[FieldLine]) -> bytes:
        """The bytes that end it; trailers go out only where the framing has room."""
        if not self.begun or self.over or (self._left and not self._chunked):
            raise Misused("an end without a whole message")
        self.over = True
        return serialise.trailers(trailers) if self._chunked else b""


class _Compiled(Side):
    """A side whose bodies compiled code reads."""

    __slots__ = ()
    _received: _Body
    _sent: _Sent

    def _next_part(self) -> bytes | Signal:
        received = self._received
        while (data := self._data) and not received.whole:
            part, self._data = received.read(data)
            if part:
                return part
            if len(self._data) == len(data):
                break
        if received.whole or (self._ended and received.until_close):
            received.over = True
            self.trailers = received.trailers
            return END
        if self._ended:
            raise CutShort
        return NEED_DATA

    def body(self, data: bytes) -> bytes:
        return self._sent.body(data)


class CompiledClientCodec(_Compiled, ClientCodec):
    """As `ClientCodec` has it."""

    __slots__ = ("_keeps", "_received", "_sent")

    def __init__(self, head_limit: int, target_limit: int, field_limit: int) -> None:
        super().__init__(head_limit, target_limit, field_limit)
        self._forget()

    def _forget(self) -> None:
        self._received = _Body(0)
        self._sent = _Sent()
        self._keeps = False  # both sides keep the connection

    def _parse_head(self, data: bytes) -> RequestHead:
        gate = self._gate
        fields, hosts, close, canonical = read_fields(data)
        if hosts != 1 and (hosts or gate.version == b"1.1"):
            raise Violation("the request is malformed")
        if not canonical:
            fields = _canonical(fields)
        self._keeps = not close and gate.version == b"1.1"
        self._received = self._body_behind(gate.framing)
        return RequestHead(gate.method, gate.target, gate.version, fields, gate.framing)

    def _body_behind(self, framing: Framing) -> _Body:
        if framing.delimiter is Delimiter.CHUNKED:
            left, self._chunk_left = self._chunk_left, None
            return _ChunkedBody(self._chunk_lines(), left)
        return _Body(framing.length or 0)

    def _show_informational(self, status: int, lines: list[FieldLine]) -> None:
        if self._sent.begun:
            raise Misused("an interim response behind a final one")

    def _show_response(self, status: int, length: bytes | None, close: bool) -> bool:
        self._sent.begin(None if length is None else int(length), chunked=self._chunking)
        self._keeps = self._keeps and self._received.over and not close
        return not self._keeps

    def end(self, trailers: list[FieldLine]) -> bytes:
        return self._sent.end(trailers)

    @property
    def may_go_on(self) -> bool:
        return self._keeps and self._sent.over and self._received.over

    @property
    def request_complete(self) -> bool:
        return self._received.over

    def start_next_cycle(self) -> None:
        super().start_next_cycle()
        self._forget()


class CompiledServerCodec(_Compiled, ServerCodec):
    """As `ServerCodec` has it."""

    __slots__ = ("_keeps", "_looks_plain", "_offers", "_received", "_sent", "_takes_up")

    def __init__(self) -> None:
        super().__init__()
        self._looks_plain = True
        self._forget()

    def _forget(self) -> None:
        self._received = _Body(0)
        self._sent = _Sent()
        self._keeps = False  # the server keeps the connection
        self._offers = False  # another protocol
        self._takes_up = False  # that offer

    def _show_request(self, method: bytes, lines: list[FieldLine]) -> None:
        length, chunked = 0, False
        for name, value in lines:
            lower = name.lower()
            if lower == b"content-length":
                length = int(value)
            elif lower == b"transfer-encoding":
                chunked = True
            elif lower == b"upgrade":
                self._offers = True
        self._sent.begin(length, chunked=chunked)

    def end(self, trailers: list[FieldLine]) -> bytes:
        return self._sent.end(trailers)

    def _next_head(self) -> ResponseHead | None:
        # A plain head needs no gate: docs/codec.md. It is looked for once: most come in one piece.
        if self._looks_plain:
            self._looks_plain = False
            plain = read_response(self._data, to_head=self._gate.method == b"HEAD")
            if plain:
                self._take(plain.length)
                status, reason, version, fields = plain.parts
                framing = _plain_framing(plain)
                self._await_body(framing, keeps=not plain.close and version == b"1.1")
                return ResponseHead(status, reason, version, fields, framing)
        return super()._next_head()

    def _await_body(self, framing: Framing, *, keeps: bool) -> None:
        self._keeps = keeps
        self._received = _body_behind(framing)

    def _parse_head(self, data: bytes) -> ResponseHead:
        gate = self._gate
        fields, _, close, canonical = read_fields(data)
        if not canonical:
            fields = _canonical(fields)
        if gate.status == 101:
            if not self._offers:
                raise Violation("a protocol that was not offered")
            self._takes_up = True
        elif gate.status >= 200:
            self._await_body(gate.framing, keeps=not close and gate.version == b"1.1")
        return ResponseHead(gate.status, gate.reason, gate.version, fields, gate.framing)

    @property
    def _complete(self) -> bool:
        return self._keeps and self._sent.over and self._received.over

    @property
    def switched(self) -> bool:
        return self._takes_up and self._sent.over


#: By compiled code.
CODECS = Codecs(CompiledClientCodec, CompiledServerCodec)


def _body_behind(framing: Framing) -> _Body:
    if framing.delimiter is Delimiter.CHUNKED:
        return _ChunkedBody(response_chunk_lines())
    return _BodyUntilClose() if framing.length is None else _Body(framing.length)


def _plain_framing(head: Response) -> Framing:
    if head.bodiless:
        return NO_BODY
    if head.chunked:
        return CHUNKED
    return UNTIL_CLOSE if head.content_length is None else of_length(head.content_length)


def _canonical(fields: list[Field]) -> list[Field]:
    """With framing fields once each, and as they are usually written.

    The gate has judged them line by line; a folded one is judged as a whole here.

    Raises:
        Violation: they contradict each other.
    """
    said: dict[bytes, bytes] = {}
    result: list[Field] = []
    for name, lower, value in fields:
        if lower == b"content-length":
            values = {each.strip() for each in value.split(b",")}
            text = values.pop()
            if values or not text.isdigit() or said.get(lower, text) != text:
                raise Violation("the length of a body is not clear")
            if lower in said:
                continue
            said[lower] = text
        elif lower == b"transfer-encoding":
            text = value.lower()
            if text != b"chunked" or lower in said:
                raise Violation("the coding of a body is not clear")
            said[lower] = text
        else:
            text = value
        result.append((name, lower, text))
    return result
