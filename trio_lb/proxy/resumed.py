"""A try that the fast path has begun and the slow path goes on with.

The fast path stops at the first thing out of the ordinary, and leaves everything as it is: the
server's slot is held, and on the connection to it the request has been sent, or most of it. Here
that becomes an upstream connection like any other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import trio

from trio_lb.errors import ConnectionStale
from trio_lb.net.dial import connect_failed, connect_too_slow
from trio_lb.upstream.http1_stream import UpstreamConnection

if TYPE_CHECKING:
    from trio_lb.errors import ConnectFailed
    from trio_lb.fast.exchange.fast_path import Handover
    from trio_lb.http.heads import FieldLine, ResponseHead
    from trio_lb.net.progress import Progress
    from trio_lb.plan import RouteTimeouts
    from trio_lb.pool import Reservation

    from .exchange import Exchange


class ResumedRequest:
    """What was begun of a request; a context manager, which lets go of what was not taken up.

    Args:
        handover: of a request whose server was picked.
        reservation: that server's.
        timeouts: of its server.

    Attributes:
        reservation: as above; it is given back at the end of the block at the latest.
        failure: why the server can't be connected to, or None.
        request_id: that its server knows the request by.
        status: of a response that the client has seen a part of, or 0.
        passed: bytes of the response's body that the client has already got.
        started: when the head of the request was complete, and the attempt began.
        gone: bytes of the request's body that were begun to be sent, and that nobody has any more.
    """

    def __init__(
        self, handover: Handover, reservation: Reservation, timeouts: RouteTimeouts
    ) -> None:
        self.reservation = reservation
        self.failure = _connect_failure(handover.connect_error, timeouts.connect)
        if self.failure is not None and self.failure.local:
            self.failure = None  # the slow path has ways to find room
        self.request_id = handover.request_id
        self.status = handover.status
        self.passed = handover.passed
        self.started = trio.current_time() if handover.started is None else handover.started
        self.gone = handover.gone or 0
        self._handover = handover
        self._transport = handover.transport
        self._timeouts = timeouts

    def upstream(self, exchange: Exchange) -> UpstreamConnection | None:
        """The connection, from now on its taker's to close; None if none was made."""
        transport, self._transport = self._transport, None
        if transport is None:
            return None
        return ResumedUpstream(self._handover, self._timeouts.response, exchange.stream.progress)

    def note(self, exchange: Exchange, outcome: str) -> None:
        """Remember how the attempt ended, if nobody takes it up."""
        if self._transport is not None:
            seconds = trio.current_time() - exchange.started
            name = self.reservation.server.name
            exchange.record.attempted(name, outcome, seconds, self._handover.reused)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with self.reservation:
            if self._transport is not None:
                self._transport.close()


def _connect_failure(code: int, seconds: float) -> ConnectFailed | None:
    if not code:
        return None
    if code < 0:
        return connect_too_slow(seconds)
    return connect_failed(OSError(code, os.strerror(code)))


class ResumedUpstream(UpstreamConnection):
    """The connection to a server that has been sent the request already."""

    def __init__(self, handover: Handover, timeout: float, progress: Progress) -> None:
        assert handover.transport is not None
        super().__init__(
            handover.transport, reused=handover.reused, timeout=timeout, progress=progress
        )
        self._handover = handover
        self._chunk = handover.chunk  # bytes to be sent of a chunk whose size the server knows

    def begin_request(
        self,
        method: bytes,
        target: bytes,
        lines: list[FieldLine],
        parts: list[bytes],
        trailers: list[FieldLine] | None,
    ) -> bool:
        handover = self._handover
        self._begin(handover.started)
        # What the server has, or is in `unsent`, is only shown to the codec.
        body, begun = b"".join(parts), handover.begun_body
        self._codec.request(method, target, lines)
        self._codec.body(body[:begun])
        rest = self._framed([], [body[begun:]], trailers)
        self._size = handover.collected
        self._unsent = memoryview(handover.unsent if handover.whole else handover.unsent + rest)
        if not self._unsent and trailers is not None:
            self._whole = True
            self.expect_answer(handover.sent)
        if handover.status:
            # The client has seen the head, and chunks up to the end of one.
            close = b"Connection: close\r\n" if handover.server_closes else b""
            head = b"HTTP/1.1 %d \r\nTransfer-Encoding: chunked\r\n%b\r\n"
            self._codec.feed(head % (handover.status, close))
        if handover.received:
            self._codec.feed(handover.received)
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
            await self._send(self._unsent, trailers, self._handover.server_waited)

    async def read_head(self) -> ResponseHead:
        if self._handover.stale:
            raise ConnectionStale("the server had sent something before it was asked")
        return await super().read_head()
