"""A try that the fast path has begun and the slow path goes on with.

The fast path stops at the first thing out of the ordinary, and leaves everything as it is: the
server's slot is held, and on the connection to it the request has been sent, or most of it. That
becomes a stream like any other (`trio_lb.upstream.resumed_stream`).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Self

import trio

from trio_lb.net.dial import connect_failed, connect_too_slow

if TYPE_CHECKING:
    from trio_lb.errors import ConnectFailed
    from trio_lb.fast.exchange import Handover
    from trio_lb.net.transport import Transport
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
        reused: the connection on which it was begun has served another request before.
        gone: bytes of the request's body that were begun to be sent, and that nobody has any more.
    """

    def __init__(
        self, handover: Handover, reservation: Reservation, timeouts: RouteTimeouts
    ) -> None:
        self.reservation = reservation
        self.failure = _connect_failure(handover.connect_error, timeouts.connect)
        if self.failure is not None and (self.failure.local or reservation.server.address.named):
            self.failure = None  # the slow path has ways to find room, or another address
        self.request_id = handover.request_id
        self.started = trio.current_time() if handover.started is None else handover.started
        self.status = self.passed = 0
        if handover.answer is not None:
            self.status, self.passed = handover.answer.status, handover.answer.passed
        self.reused, self.gone = False, 0
        self._handover = handover
        self._transport: Transport | None = None
        if handover.upstream is not None:
            self.reused = handover.upstream.reused
            self.gone = handover.upstream.gone or 0
            self._transport = handover.upstream.transport

    def take(self) -> Handover | None:
        """What was begun on a connection, from now on its taker's to close; None without one."""
        if self._handover.connect_error:
            return None
        transport, self._transport = self._transport, None
        return None if transport is None else self._handover

    def under_way(self) -> Transport | None:
        """What is not connected yet, from now on its taker's to close."""
        transport, self._transport = self._transport, None
        return transport

    def note(self, exchange: Exchange, outcome: str) -> None:
        """Remember how the attempt ended, if nobody takes it up."""
        if self._transport is not None:
            seconds = trio.current_time() - exchange.started
            name = self.reservation.server.name
            exchange.record.attempted(name, outcome, seconds, self.reused)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with self.reservation:
            if self._transport is not None:
                self._transport.close()


def _connect_failure(code: int, seconds: float) -> ConnectFailed | None:
    if code in (0, errno.EINPROGRESS):
        return None
    if code < 0:
        return connect_too_slow(seconds)
    return connect_failed(OSError(code, os.strerror(code)))
