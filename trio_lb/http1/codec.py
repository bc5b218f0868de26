"""HTTP/1.1 for both of our sides, without I/O: bytes to parts of messages and back.

`ClientCodec` speaks to a client (reads requests, writes responses), `ServerCodec` to a server. Both
answer a read in one of three ways: a part of the message, `END` (of the message, or of the
connection between messages), or `NEED_DATA` (feed more bytes, then ask again). What the peer did
wrong is raised as the error class that says whose fault it was.

Here is what does not depend on who takes messages apart: heads are let through by the gates of
`strict` first, and framed by them. There are two of these: `h11_codec` and `compiled_codec`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from trio_lb.errors import ClientError, ClientGone, ResponseBroken

from . import serialise
from .chunks import ChunkLines
from .strict import RequestGate, ResponseGate, Violation

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.http.heads import FieldLine, RequestHead, ResponseHead


class Signal(Enum):
    """What a read may answer instead of a part of a message."""

    NEED_DATA = "feed more bytes, then ask again"
    END = "the message, or the connection between two messages, is over"


NEED_DATA: Final = Signal.NEED_DATA
END: Final = Signal.END

#: Servers are given more room than clients: they are ours, and set many cookies.
RESPONSE_HEAD_LIMIT = 64 * 1024
RESPONSE_FIELD_LIMIT = 1000

#: Interim (1xx) responses before the final one; a server that floods us with them is broken.
INTERIM_LIMIT = 100


class CutShort(Exception):  # noqa: N818 -- whose error it is, the side knows
    """The stream ended in the middle of a body."""


class Side(ABC):
    """What comes from a peer.

    Attributes:
        trailers: behind the latest body, when it has ended.
    """

    __slots__ = ("_data", "_ended", "trailers")

    def __init__(self) -> None:
        self._data = b""
        self._ended = False
        self.trailers: list[FieldLine] = []

    def feed(self, data: bytes) -> None:
        """Take in what was received; `b""` for the end of the stream."""
        self._data = self._data + data if self._data else data
        self._ended = self._ended or not data

    def leave_http(self) -> bytes:
        """After a 101: what has come behind the HTTP, in whatever protocol."""
        rest, self._data = self._data, b""
        self._forget()
        return rest

    def _take(self, size: int) -> bytes:
        data = self._data
        if size == len(data):
            self._data = b""
        else:
            data, self._data = data[:size], data[size:]
        return data

    @abstractmethod
    def _forget(self) -> None:
        """No message is complete any more, and none will come."""

    @abstractmethod
    def _next_part(self) -> bytes | Signal:
        """The next piece of a body.

        Raises:
            Violation: it is malformed.
            CutShort: it was broken off.
        """

    @abstractmethod
    def body(self, data: bytes) -> bytes:
        """The bytes of a piece of our message's body."""


class ClientCodec(Side):
    """The connection with a client, seen from here: requests in, responses out.

    Args:
        head_limit: largest request head in bytes, request line included.
        target_limit: largest request target in bytes.
        field_limit: largest number of field lines.

    Attributes:
        ends_by_closing: the response under way has no framing: nothing but closing ends it.
    """

    __slots__ = (
        "_chunk_left", "_chunking", "_field_limit", "_gate", "_head_limit", "ends_by_closing",
    )  # fmt: skip

    def __init__(self, head_limit: int, target_limit: int, field_limit: int) -> None:
        super().__init__()
        self._gate = RequestGate(head_limit, target_limit, field_limit)
        self._head_limit = head_limit
        self._field_limit = field_limit
        self._chunking = False
        self._chunk_left: int | None = None
        self.ends_by_closing = False

    def take_unread(self) -> bytes:
        """Between two messages: give up what was fed of the next one, for somebody else to read."""
        unread, self._data = self._data, b""
        return unread

    def go_on_in_chunk(self, left: int) -> None:
        """The next request's body was read by somebody else, up to `left` bytes of a chunk."""
        self._chunk_left = left

    # Requests

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
            return END
        try:
            head = self._parse_head(self._take(size))
        except Violation as exc:
            raise ClientError(exc.reason, exc.status) from exc
        self.trailers = []
        return head

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
        except CutShort as exc:
            raise ClientGone("the client disconnected while it sent the request body") from exc

    def _chunk_lines(self) -> ChunkLines:
        return ChunkLines(self._head_limit, self._field_limit, padded=False)

    @abstractmethod
    def _parse_head(self, data: bytes) -> RequestHead:
        """Take a head apart that has passed the gate, and make ready for the body behind it.

        Raises:
            Violation: it is malformed nevertheless.
        """

    # Responses

    def informational(self, status: int, reason: bytes, lines: list[FieldLine]) -> bytes:
        """The bytes of a 1xx response; none for an HTTP/1.0 client (RFC 9110 section 15.2)."""
        if self._gate.version != b"1.1":
            return b""
        self._show_informational(status, lines)
        return serialise.response_head(status, reason, lines)

    def response(
        self, status: int, reason: bytes, lines: list[FieldLine], *, close: bool = False
    ) -> bytes:
        """The bytes of a response's head.

        Without Content-Length the body goes out chunked, or, to an HTTP/1.0 client, ends with the
        connection. That the connection ends after it is said (RFC 9112 section 9.6) if `close` is
        true, the client wants it so, or its request is not complete.
        """
        length = None
        for name, value in lines:
            if len(name) == 14 and name.lower() == b"content-length":
                length = value
                break
        bodiless = self.head_only or status in (204, 304)
        framed = length is not None or bodiless
        self._chunking = not framed and self._gate.version == b"1.1"
        self.ends_by_closing = not framed and not self._chunking
        due = b"0" if bodiless else length
        close = self._show_response(status, due, close)
        if self._chunking:
            lines = [*lines, (b"Transfer-Encoding", b"chunked")]
        if close:
            lines = [*lines, (b"Connection", b"close")]
        return serialise.response_head(status, reason, lines)

    @abstractmethod
    def end(self, trailers: list[FieldLine]) -> bytes:
        """The bytes that end the response; trailers go out only where the framing has room."""

    @abstractmethod
    def _show_informational(self, status: int, lines: list[FieldLine]) -> None:
        """Note that a 1xx response goes out."""

    @abstractmethod
    def _show_response(self, status: int, length: bytes | None, close: bool) -> bool:
        """Note that a response goes out, chunked if `_chunking` is true.

        Args:
            status: of it.
            length: of its body; None if it is not known.
            close: it is to be the last.

        Returns:
            Whether it is the last: the client may want that, or not have sent its whole request.
        """

    @property
    def head_only(self) -> bool:
        """The request is a HEAD: its response has no body, whatever its fields say."""
        method = self._gate.method
        return method == b"HEAD" or (not method and self._data.startswith(b"HEAD "))

    # Both

    @property
    @abstractmethod
    def may_go_on(self) -> bool:
        """Both messages are complete and both sides keep the connection."""

    @property
    @abstractmethod
    def request_complete(self) -> bool:
        """The whole request was read: closing now resets nothing that is still on its way."""

    def start_next_cycle(self) -> None:
        """Make ready for the next request; only where `may_go_on`."""
        self._gate.reset()


class ServerCodec(Side):
    """The connection with a server for one request: the request out, the response in."""

    __slots__ = ("_fed", "_gate", "_interim")

    def __init__(self) -> None:
        super().__init__()
        self._gate = ResponseGate(RESPONSE_HEAD_LIMIT, RESPONSE_FIELD_LIMIT)
        self._fed = False
        self._interim = 0

    # The request

    def request(self, method: bytes, target: bytes, lines: list[FieldLine]) -> bytes:
        """The bytes of the request's head."""
        self._gate.method = method
        self._show_request(method, lines)
        return serialise.request_head(method, target, lines)

    @abstractmethod
    def end(self, trailers: list[FieldLine]) -> bytes:
        """The bytes that end the request."""

    @abstractmethod
    def _show_request(self, method: bytes, lines: list[FieldLine]) -> None:
        """Note that a request goes out."""

    # The response

    def feed(self, data: bytes) -> None:
        if data:
            self._fed = True
        super().feed(data)

    def go_on_behind(self, interims: int) -> None:
        """So many interim responses were read by somebody else."""
        self._interim = interims
        self._fed = True

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
        try:
            head = self._next_head()
        except Violation as exc:
            raise ResponseBroken("the server sent a malformed response") from exc
        if head is None:
            if self._ended:
                raise ResponseBroken("the server closed the connection without a response")
            return NEED_DATA
        if head.status < 200:
            self._interim += 1
            if self._interim > INTERIM_LIMIT:
                raise ResponseBroken("the server sent too many interim responses")
        return head

    def read_body(self) -> bytes | Signal:
        """The next piece of the response's body; after END, `trailers` are known.

        Raises:
            ResponseBroken: the stream ended early or the framing is broken.
        """
        try:
            return self._next_part()
        except (Violation, CutShort) as exc:
            raise ResponseBroken("the server closed the connection during its response") from exc

    def _next_head(self) -> ResponseHead | None:
        """The next head through the gate; None while it is not complete."""
        size = self._gate.end(self._data)
        return self._parse_head(self._take(size)) if size else None

    @abstractmethod
    def _parse_head(self, data: bytes) -> ResponseHead:
        """Take a head apart that has passed the gate; of a final one, make ready for its body.

        Raises:
            Violation: it is malformed nevertheless.
        """

    # Both

    @property
    def reusable(self) -> bool:
        """Both messages are complete, both sides keep the connection, and no byte is left over."""
        return self._complete and not self._data and not self._ended

    @property
    @abstractmethod
    def _complete(self) -> bool:
        """Both messages are complete, and both sides keep the connection."""

    @property
    @abstractmethod
    def switched(self) -> bool:
        """A 101 was read, after the end of a request that offered another protocol."""


def response_chunk_lines() -> ChunkLines:
    """The lines of a response's chunked body."""
    return ChunkLines(RESPONSE_HEAD_LIMIT, RESPONSE_FIELD_LIMIT, padded=True)


class Codecs(NamedTuple):
    """Who takes messages apart.

    Attributes:
        client: makes the codec of a client's connection; its arguments are `ClientCodec`'s.
        server: makes the codec of a request to a server.
    """

    client: Callable[[int, int, int], ClientCodec]
    server: Callable[[], ServerCodec]
