"""HTTP/1.1 with a client: a connection, which yields one stream after the other.

All errors here are the client's. This module knows nothing of servers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from trio_lb.errors import ClientError, ClientTooSlow
from trio_lb.http.heads import RequestHead
from trio_lb.http1.codec import NEED_DATA
from trio_lb.net.deadlines import AT_ONCE, NEVER, Deadline
from trio_lb.net.progress import Progress
from trio_lb.net.transport import RECEIVE_SIZE, TimedOut, Transport, TransportBroken, receive

from .http1_stream import Http1ClientStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.http1.codec import ClientCodec
    from trio_lb.plan import ClientLimits, ClientTimeouts

#: How long a connection may still state a last request when the drain has begun.
_LAST_REQUEST = 1.0

#: Lingering close: how long a client may be silent, and how long it may talk on, before it is
#: let go although it still sends (RFC 9112 section 9.6). Long enough to read an answer.
_LINGER_SILENCE = 2.0
_LINGER_TOTAL = 20.0


class FastSide(Protocol):
    """Where a connection is while the fast path has it."""

    @property
    def idle_since(self) -> float:
        """Since when it has been waiting for a request; `NEVER` while it has one."""

    def drain(self) -> None:
        """As `Http1Session.drain`."""

    def evict(self) -> None:
        """As `Http1Session.evict`."""

    def detach(self) -> None:
        """Have nothing to do with the connection any more."""


class Http1Session:
    """One client's connection, from accept to close.

    Args:
        transport: its bytes; closed by `end` or `cut`.
        limits: how much the client may send.
        timeouts: how long it may take.
        make_codec: makes what takes its messages apart; see `trio_lb.http1.codec`.

    Attributes:
        transport: as above.
        scope: around the task that serves its streams.
        draining: the next answer is the last.
        last: the client was told that the answer under way, or the one before, is the last.
        fast_side: where it is when it is on the fast path; None if it never is.
    """

    __slots__ = (
        "_answer_begun", "_began", "_codec_made", "_idle_since", "_limits", "_make_codec",
        "_most_requests", "_progress", "_served", "_stream", "_timeouts", "draining", "fast_side",
        "last", "scope", "transport",
    )  # fmt: skip

    def __init__(
        self,
        transport: Transport,
        limits: ClientLimits,
        timeouts: ClientTimeouts,
        make_codec: Callable[[int, int, int], ClientCodec],
    ) -> None:
        self.transport = transport
        self.scope = trio.CancelScope()
        self._limits = limits
        self._timeouts = timeouts
        self._make_codec = make_codec
        self._codec_made: ClientCodec | None = None
        self._progress = Progress(timeouts.body, limits.min_rate)
        self._most_requests = limits.requests or math.inf
        self._served = 0
        self._began: float | None = None  # when the first byte of the next request came
        self._idle_since = NEVER
        self._stream: Http1ClientStream | None = None  # the latest one
        self._answer_begun = False  # to the next request, on the fast path
        self.draining = False
        self.last = False
        self.fast_side: FastSide | None = None

    def __repr__(self) -> str:
        state = "answering" if self._answering else "idle" if self.idle_since < NEVER else "reading"
        return f"<Http1Session {self.transport!r} {state} served={self._served}>"

    @property
    def idle_since(self) -> float:
        """Since when it has been waiting for a request; `NEVER` while it has one."""
        return min(self._idle_since, NEVER if self.fast_side is None else self.fast_side.idle_since)

    @property
    def _codec(self) -> ClientCodec:
        """Made when it is first needed: most connections are served on the fast path alone."""
        codec = self._codec_made
        if codec is None:
            limits = self._limits
            codec = self._make_codec(limits.head, limits.target, limits.fields)
            self._codec_made = codec
        return codec

    @property
    def _answering(self) -> bool:
        return self._stream is not None and self._stream.answering

    # Streams

    def feed(self, data: bytes) -> None:
        """Take in bytes that were received before this connection was made: not none."""
        self._codec.feed(data)

    async def next_stream(self) -> Http1ClientStream | None:
        """The next request, as soon as its head has come or can't become one.

        That is one that is malformed, too large (414, 431) or too slow (408).

        Returns:
            None if the client left or was idle for too long.
        """
        codec = self._codec
        head: RequestHead | ClientError
        try:
            part = codec.read_head()
            while part is NEED_DATA and not codec.begun:
                self._began = None  # what has come are empty lines, if anything
                if not await self._first_bytes():
                    return None
                part = codec.read_head()
            if self._began is None:
                self._began = trio.current_time()
            if part is NEED_DATA:
                deadline = Deadline(self._timeouts.head, since=self._began)
                while part is NEED_DATA:
                    try:
                        codec.feed(await receive(self.transport, deadline.by))
                    except TransportBroken:
                        return None
                    except TimedOut:
                        raise ClientTooSlow("timed out while reading the request head") from None
                    part = codec.read_head()
            if not isinstance(part, RequestHead):
                return None
            head = part
        except ClientError as exc:
            head = exc.with_traceback(None)  # else it would hold the stream, and that it
        began = trio.current_time() if self._began is None else self._began
        self._stream = Http1ClientStream(
            self, self.transport, codec, self._progress, head, began, self._answer_begun
        )
        self._answer_begun = False
        return self._stream

    async def _first_bytes(self) -> bool:
        """Wait for a request to begin; False if none does. Only here may a drain interrupt."""
        patience = self._timeouts.keep_alive if self._served else self._timeouts.head
        if self.draining:
            patience = min(patience, _LAST_REQUEST)
        data = self._receive_nowait()
        if data is None:
            self._idle_since = now = trio.current_time()
            try:
                await self.transport.wait_readable(now + patience)
            except (TimedOut, TransportBroken):
                pass  # what came meanwhile is served all the same, also after a drain
            finally:
                self._idle_since = NEVER
            data = self._receive_nowait()
        if not data:
            return False
        self._codec.feed(data)
        return True

    def _receive_nowait(self) -> bytes | None:
        try:
            return self.transport.receive_nowait(RECEIVE_SIZE)
        except TransportBroken:
            return b""

    def decide_whether_last(self) -> bool:
        """Decide, when an answer begins, whether it is the connection's last."""
        no_other = not self._timeouts.keep_alive or self._served + 1 >= self._most_requests
        self.last = self.draining or no_other
        return self.last

    def next_cycle(self) -> bool:
        """Make ready for the next stream; False if this connection has to end."""
        # Not if it drains, but if the client was told so: else it sends another request, which a
        # drain that began behind the head of this answer would meet with a close.
        if self.last or not self._codec.may_go_on:
            return False
        self._codec.start_next_cycle()
        self._began = None
        self._progress.restart()
        self._served += 1
        return True

    # The fast path

    def leave(self) -> tuple[bytes, int]:
        """Hand over to the fast path between two requests: unread bytes, and requests served."""
        codec = self._codec_made
        return b"" if codec is None else codec.take_unread(), self._served

    def come_back(
        self,
        unread: bytes,
        served: int,
        began: float | None,
        patience: float | None,
        chunk: int | None,
    ) -> None:
        """Take the connection back from the fast path.

        Args:
            unread: bytes from the beginning of a request.
            served: requests that were served on both paths.
            began: when the first of these bytes came, on Trio's clock; None if there are none.
            patience: seconds for which a body that is under way may be waited for.
            chunk: bytes to come of a chunk that behind the head is gone on with, if any is.
        """
        if patience is not None:
            self._progress.resume(patience)
        if unread:
            self._codec.feed(unread)
        if chunk is not None:
            self._codec.go_on_in_chunk(chunk)
        self._served = served
        self._began = began

    def resume_answer(self, *, last: bool) -> None:
        """The fast path has sent the head of an answer to the next request already.

        Args:
            last: the client was told there that it is the last one.
        """
        self._answer_begun = True
        self.last = last

    def leave_fast_path(self) -> None:
        """Leave the fast path for good: no more HTTP follows."""
        if self.fast_side is not None:
            self.fast_side.detach()
            self.fast_side = None

    def head_again(self) -> RequestHead | None:
        """Parse again the head of a request that was read on the fast path."""
        try:
            part = self._codec.read_head()
        except ClientError:
            return None
        return part if isinstance(part, RequestHead) else None

    # Ends

    def drain(self) -> None:
        """Make the answer under way the last one; if there is none, wait for no further request."""
        self.draining = True
        if self.fast_side is not None:
            self.fast_side.drain()
        if self._idle_since < NEVER:
            # Not at once: a request may be on its way, and would be met by a reset.
            last = trio.current_time() + _LAST_REQUEST
            self.transport.read_by = min(self.transport.read_by, last)

    def evict(self) -> None:
        """Give up waiting for a request; one that has come meanwhile is served all the same."""
        if self.fast_side is not None:
            self.fast_side.evict()
        self._idle_since = NEVER
        self.transport.read_by = AT_ONCE
        self.transport.wake()

    async def end(self, *, complete: bool = False) -> None:
        """Close after the last answer, so that the client can read it whole.

        Closing a socket that still has unread bytes makes the kernel reset the connection, and
        the answer may be lost with it. So where the client is still sending, be it another
        request, it is told that this was all, and read from for a while.

        Args:
            complete: the whole request was read, whatever the codec has seen of it.
        """
        if self._answering:
            self.cut()
        elif (complete or self._codec.request_complete) and not self.transport.peek():
            self.transport.close()
        else:
            await self._linger()

    async def _linger(self) -> None:
        transport = self.transport
        transport.send_eof()
        until = Deadline(_LINGER_TOTAL)
        try:
            while (now := trio.current_time()) < until.by:
                if not await receive(transport, min(now + _LINGER_SILENCE, until.by)):
                    break
                await trio.lowlevel.checkpoint()
        except (TransportBroken, TimedOut):
            pass
        finally:
            transport.close()

    def cut(self) -> None:
        """Close at once, so that a response under way is not taken for a whole one."""
        self.leave_fast_path()
        if self._answering and self._codec.ends_by_closing:
            self.transport.reset()
        else:
            self.transport.close()
