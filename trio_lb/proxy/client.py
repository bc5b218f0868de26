"""The connection with one client: requests out of its bytes, answers into them.

Whatever breaks here is the client's: `ClientGone` when there is nobody left to answer,
`ClientError` when there is. Nothing of a server is known in this module.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from trio_lb.errors import ClientError, ClientGivenUp, ClientGone, ClientTooSlow
from trio_lb.http.dates import http_date
from trio_lb.http.heads import FieldLine, RequestHead
from trio_lb.http1.h11_codec import END, NEED_DATA, ClientCodec
from trio_lb.net.deadlines import AT_ONCE, NEVER, Deadline
from trio_lb.net.progress import Progress
from trio_lb.net.transport import RECEIVE_SIZE, TimedOut, Transport, TransportBroken, receive

if TYPE_CHECKING:
    from trio_lb.config import Profile
    from trio_lb.fast.exchange.client_side import ClientSide
    from trio_lb.http.answers import Answer
    from trio_lb.upstream.personal import PersonalConnection

#: How long a connection may still state a last request when the drain has begun.
_LAST_REQUEST = 1.0

#: Lingering close: how long a client may be silent, and how long it may talk on, before it is
#: let go although it still sends (RFC 9112 section 9.6). Long enough to read an answer.
_LINGER_SILENCE = 2.0
_LINGER_TOTAL = 20.0


class ClientConnection:
    """One client's connection, from accept to close.

    Args:
        transport: its bytes; closed by `end` or `cut`.
        profile: for the limits and timeouts.

    Attributes:
        began: when the first byte of the request under way came, on Trio's clock; None before.
        answering: part of a response has gone out, and its end has not.
        draining: the next answer is the last.
        last: the client was told that the answer under way, or the one before, is the last.
        progress: the clock of the exchange under way.
        plain: where this connection is when it is on the fast path.
        personal: a server's connection that serves this client alone; closed with this one.
    """

    __slots__ = (
        "_codec_made",
        "_idle_since",
        "_limits",
        "_most_requests",
        "_served",
        "_timeouts",
        "answering",
        "began",
        "draining",
        "fast_side",
        "last",
        "personal",
        "progress",
        "transport",
    )  # fmt: skip

    def __init__(self, transport: Transport, profile: Profile) -> None:
        self.transport = transport
        limits = profile.limits
        self._limits = limits
        self._codec_made: ClientCodec | None = None
        self._timeouts = profile.timeouts
        self.progress = Progress(profile.timeouts.body, limits.min_rate)
        self._most_requests = limits.requests_per_connection or math.inf
        self._served = 0
        self.began: float | None = None
        self._idle_since = NEVER
        self.answering = False
        self.draining = False
        self.last = False
        self.fast_side: ClientSide | None = None
        self.personal: PersonalConnection | None = None

    def __repr__(self) -> str:
        state = "answering" if self.answering else "idle" if self.idle_since < NEVER else "reading"
        return f"<ClientConnection {self.transport!r} {state} served={self._served}>"

    @property
    def idle_since(self) -> float:
        """From when on it has been waiting for a request; `NEVER` while it has one."""
        return min(self._idle_since, NEVER if self.fast_side is None else self.fast_side.idle_since)

    @property
    def _codec(self) -> ClientCodec:
        """Made when it is first needed: most connections are served on the fast path alone."""
        codec = self._codec_made
        if codec is None:
            limits = self._limits
            codec = self._codec_made = ClientCodec(limits.head, limits.target, limits.headers)
        return codec

    # Requests

    def feed(self, data: bytes) -> None:
        """Take in bytes that were received before this connection was made: not none."""
        self._codec.feed(data)

    async def next_request(self) -> RequestHead | None:
        """The next request's head; None if the client left or was idle for too long.

        Raises:
            ClientError: the head is malformed, too large (414, 431) or too slow (408).
        """
        codec = self._codec
        part = codec.read_head()
        while part is NEED_DATA and not codec.begun:
            self.began = None  # what has come are empty lines, if anything
            if not await self._first_bytes():
                return None
            part = codec.read_head()
        if self.began is None:
            self.began = trio.current_time()
        if part is NEED_DATA:
            deadline = Deadline(self._timeouts.client_head, since=self.began)
            while part is NEED_DATA:
                try:
                    codec.feed(await receive(self.transport, deadline.by))
                except TransportBroken:
                    return None
                except TimedOut:
                    raise ClientTooSlow("the request head took too long") from None
                part = codec.read_head()
        return part if isinstance(part, RequestHead) else None

    async def _first_bytes(self) -> bool:
        """Wait for a request to begin; False if none does. Only here may a drain interrupt."""
        patience = self._timeouts.keep_alive if self._served else self._timeouts.client_head
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

    def drain(self) -> None:
        """Let the answer under way be the last; if there is none, wait for no other request."""
        self.draining = True
        if self.fast_side is not None:
            self.fast_side.drain()
        if self._idle_since < NEVER:
            # Not at once: a request may be on its way, and would be met by a reset.
            last = trio.current_time() + _LAST_REQUEST
            self.transport.read_by = min(self.transport.read_by, last)

    def let_go(self) -> None:
        """Give up waiting for a request; one that has come meanwhile is served all the same."""
        if self.fast_side is not None:
            self.fast_side.let_go()
        self._idle_since = NEVER
        self.transport.read_by = AT_ONCE
        self.transport.wake()

    def body_nowait(self) -> bytes | None:
        """The next piece of the request's body that is already here.

        Returns:
            None at the end of the body.

        Raises:
            ClientError: malformed.
            trio.WouldBlock: nothing is here.
        """
        part = self._codec.read_body()
        if part is NEED_DATA:
            raise trio.WouldBlock
        return None if part is END else part

    async def receive_body(self) -> None:
        """Receive more of the request's body, for `body_nowait`.

        Raises:
            ClientError: nothing came for too long, or too little (408).
            ClientGone: the client left.
        """
        try:
            data = await self.progress.receive_from_client(self.transport)
        except TransportBroken:
            raise ClientGone("the client reset its connection") from None
        except TimedOut:
            raise ClientTooSlow("the request body took too long") from None
        self._codec.feed(data)

    @property
    def trailers(self) -> list[FieldLine]:
        """Those of the request, once its body has ended."""
        return self._codec.trailers

    # Responses

    def ask_whether_it_is_there(self) -> bool:
        """Send 100 (Continue): a client whose socket is closed meets it with a reset.

        Returns:
            False if it can't be asked, since HTTP/1.0 has no such thing.
        """
        if self.transport.unsent:
            return True  # that asks, too
        question = self._codec.informational(100, b"Continue", [])
        with suppress(TransportBroken):  # the answer, which is heard elsewhere
            self.transport.send_nowait(question)
        return bool(question)

    async def send_informational(self, status: int, reason: bytes, lines: list[FieldLine]) -> None:
        """Pass on a 1xx response; an HTTP/1.0 client would not understand it and gets none."""
        if data := self._codec.informational(status, reason, lines):
            await self._send(data)

    async def begin_response(
        self,
        status: int,
        reason: bytes,
        lines: list[FieldLine],
        parts: list[bytes],
        trailers: list[FieldLine] | None,
    ) -> None:
        """Send a response's head, and what is already here of its body, in one piece.

        Args:
            status, reason, lines: the head; unframed bodies are framed by the codec.
            parts: pieces of the body.
            trailers: where the response ends with `parts`, its trailers; None if more is to come.
        """
        # The fast path may have sent the head already, and a part of the body.
        if not self.answering:
            self.last = self.draining or self._last_request
        head = self._codec.response(status, reason, lines, close=self.last)
        out = [] if self.answering else [head]
        self.answering = True
        await self._send_parts(out, parts, trailers)

    async def continue_response(self, parts: list[bytes], trailers: list[FieldLine] | None) -> None:
        """Send more of the response's body, up to its end if `trailers` is not None."""
        await self._send_parts([], parts, trailers)

    async def _send_parts(
        self, out: list[bytes], parts: list[bytes], trailers: list[FieldLine] | None
    ) -> None:
        codec = self._codec
        out += [codec.body(part) for part in parts]
        if trailers is not None:
            out.append(codec.end(trailers))
        await self._send(out[0] if len(out) == 1 else b"".join(out))
        if trailers is not None:
            self.answering = False

    async def answer(self, answer: Answer, *, close: bool) -> int:
        """Send an answer of our own; with `close`, as the last one.

        Returns:
            Bytes of its body.
        """
        self.draining = self.draining or close
        parts: list[bytes] = [] if self._codec.head_only else [answer.body]
        lines = [(b"Date", http_date(int(time.time()))), *answer.lines]
        await self.begin_response(answer.status, answer.reason, lines, parts, [])
        return sum(map(len, parts))

    async def _send(self, data: bytes) -> None:
        try:
            await self.progress.send_to_client(self.transport, data)
        except TransportBroken:
            raise ClientGone("the client closed its connection before it had its answer") from None
        except TimedOut:
            raise ClientGivenUp("the client took its answer too slowly") from None

    # The fast path

    def leave(self) -> tuple[bytes, int]:
        """Between two requests, for the fast path: what came of the next, how many were served."""
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
        """Go on from the fast path.

        Args:
            unread: bytes from the beginning of a request.
            served: requests that were served on both paths.
            began: when the first of these bytes came, on Trio's clock; None if there are none.
            patience: seconds for which a body that is under way may be waited for.
            chunk: bytes to come of a chunk that behind the head is gone on with, if any is.
        """
        if patience is not None:
            self.progress.resume(patience)
        if unread:
            self._codec.feed(unread)
        if chunk is not None:
            self._codec.go_on_in_chunk(chunk)
        self._served = served
        self.began = began

    def head_again(self) -> RequestHead | None:
        """The head of a request that was read on the fast path, for who wants to know it."""
        try:
            part = self._codec.read_head()
        except ClientError:
            return None
        return part if isinstance(part, RequestHead) else None

    def leave_http(self) -> bytes:
        """After a 101: what the client has already sent of the other protocol."""
        return self._codec.leave_http()

    @property
    def _last_request(self) -> bool:
        """The profile allows no other request after the one that is being answered."""
        return not self._timeouts.keep_alive or self._served + 1 >= self._most_requests

    # Ends

    def next_cycle(self) -> bool:
        """Make ready for the next request; False if this connection has to end."""
        # Not if it drains, but if the client was told so: else it sends another request, which a
        # drain that began behind the head of this answer would meet with a close.
        if self.last or not self._codec.may_go_on:
            return False
        self._codec.start_next_cycle()
        self.began = None
        self.progress.restart()
        self._served += 1
        return True

    async def end(self, *, complete: bool = False) -> None:
        """Close after the last answer, so that the client can read it whole.

        Closing a socket that still has unread bytes makes the kernel reset the connection, and
        the answer may be lost with it. So where the client is still sending, be it another
        request, it is told that this was all, and read from for a while.

        Args:
            complete: the whole request was read, whatever the codec has seen of it.
        """
        if self.answering:
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

    def close_personal(self) -> None:
        """Close the server's connection that is this client's own, if there is one."""
        if self.personal is not None:
            self.personal.transport.close()
            self.personal = None

    def cut(self) -> None:
        """Close at once, so that a response under way is not taken for a whole one."""
        self.close_personal()
        if self.fast_side is not None:
            self.fast_side.detach()
        if self.answering and self._codec.ends_by_closing:
            self.transport.reset()
        else:
            self.transport.close()
