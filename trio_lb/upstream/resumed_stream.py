"""A request that the fast path has begun on a connection, resumed on the slow path.

The connection is as it was left; what is still to be sent and what was received is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trio_lb.errors import ConnectionStale

from .http1_stream import Http1UpstreamStream

if TYPE_CHECKING:
    from trio_lb.http.heads import FieldLine, ResponseHead
    from trio_lb.http1.codec import ServerCodec
    from trio_lb.net.progress import Progress
    from trio_lb.net.transport import Transport

    from .idle_pool import IdleConnections


class BegunUpstream(Protocol):
    """The connection that a request was begun on."""

    @property
    def transport(self) -> Transport | None:
        """The connection; never None here."""

    @property
    def reused(self) -> bool:
        """It has served another request before."""

    @property
    def stale(self) -> bool:
        """The server had sent something on it before it was asked."""

    @property
    def begun_body(self) -> int:
        """Bytes of the request's body that were sent, or are in `unsent`."""

    @property
    def whole(self) -> bool:
        """With `unsent`, that is the whole request."""

    @property
    def unsent(self) -> bytes:
        """Bytes of the request that are to be sent first."""

    @property
    def chunk(self) -> int | None:
        """Bytes to be sent of a chunk whose size the server knows; None: of none."""

    @property
    def sent(self) -> float:
        """When the last bytes of the request had left."""

    @property
    def server_waited(self) -> float:
        """Seconds for which the server has taken nothing of the request."""

    @property
    def interims(self) -> int:
        """1xx responses that have come and were dealt with."""

    @property
    def received(self) -> bytes:
        """What has come of the response, behind what the client has seen of it."""


class BegunAnswer(Protocol):
    """A response of which the client has seen the head, and chunks up to the end of one."""

    @property
    def status(self) -> int:
        """Its status."""

    @property
    def server_closes(self) -> bool:
        """It was the last one on its connection."""


class BegunRequest(Protocol):
    """What was done of a request; the fast path's `Handover` is one."""

    @property
    def started(self) -> float | None:
        """When the request was begun, on Trio's clock."""

    @property
    def collected(self) -> int:
        """Bytes of the request's body that have left."""

    @property
    def upstream(self) -> BegunUpstream | None:
        """Where; never None here."""

    @property
    def answer(self) -> BegunAnswer | None:
        """None if the client has seen nothing of one."""


class ResumedStream(Http1UpstreamStream):
    """A request that a server has been sent already.

    Args:
        begun: what was done of it.
        codec, progress, timeout, idle, server: as for `Http1UpstreamStream`.
    """

    def __init__(
        self,
        begun: BegunRequest,
        codec: ServerCodec,
        progress: Progress,
        timeout: float,
        idle: IdleConnections | None,
        server: int,
    ) -> None:
        upstream = begun.upstream
        assert upstream is not None
        assert upstream.transport is not None
        super().__init__(
            upstream.transport,
            codec,
            progress,
            timeout,
            reused=upstream.reused,
            idle=idle,
            server=server,
        )
        self._begun = begun
        self._upstream = upstream
        self._chunk = upstream.chunk

    def begin_request(
        self,
        method: bytes,
        target: bytes,
        lines: list[FieldLine],
        parts: list[bytes],
        trailers: list[FieldLine] | None,
    ) -> bool:
        upstream, answer = self._upstream, self._begun.answer
        self._begin(self._begun.started)
        # What the server has, or is in `unsent`, is only shown to the codec.
        body, shown = b"".join(parts), upstream.begun_body
        self._codec.request(method, target, lines)
        self._codec.body(body[:shown])
        rest = self._framed([], [body[shown:]], trailers)
        self._size = self._begun.collected
        self._unsent = memoryview(upstream.unsent if upstream.whole else upstream.unsent + rest)
        if not self._unsent and trailers is not None:
            self._whole = True
            self.expect_answer(upstream.sent)
        if upstream.interims:
            self._codec.go_on_behind(upstream.interims)
            self._early = None  # a 408 would have been the first head
        if answer is not None:
            close = b"Connection: close\r\n" if answer.server_closes else b""
            head = b"HTTP/1.1 %d \r\nTransfer-Encoding: chunked\r\n%b\r\n"
            self._codec.feed(head % (answer.status, close))
        if upstream.received:
            self._codec.feed(upstream.received)
        return not self._unsent

    def _framed(
        self, out: list[bytes], parts: list[bytes], trailers: list[FieldLine] | None
    ) -> bytes:
        if self._chunk is not None:
            parts = self._go_on_in_chunk(out, b"".join(parts), self._chunk)
        return super()._framed(out, parts, trailers)

    def _go_on_in_chunk(self, out: list[bytes], data: bytes, left: int) -> list[bytes]:
        """What the chunk under way wants goes on as it is; returns what is behind it."""
        out.append(data[:left])
        self._chunk = left - len(out[-1])
        if self._chunk:
            return []
        self._chunk = None
        out.append(b"\r\n")
        return [data[left:]]

    async def send_rest(self, trailers: list[FieldLine] | None) -> None:
        if self._unsent:
            await self._send(self._unsent, trailers, self._upstream.server_waited)

    async def read_head(self) -> ResponseHead:
        if self._upstream.stale:
            raise ConnectionStale("the server sent data before it got a request")
        return await super().read_head()
