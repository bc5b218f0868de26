"""HTTP/1.1 with a client: one request and its answer; see `trio_lb.downstream.stream`."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from trio_lb.errors import ClientGivenUp, ClientGone, ClientTooSlow
from trio_lb.http.dates import http_date
from trio_lb.http1.codec import END, NEED_DATA
from trio_lb.net.transport import TimedOut, TransportBroken

if TYPE_CHECKING:
    from trio_lb.errors import ClientError
    from trio_lb.http.answers import Answer
    from trio_lb.http.heads import FieldLine, RequestHead
    from trio_lb.http1.codec import ClientCodec
    from trio_lb.net.progress import Progress
    from trio_lb.net.transport import ByteStream, PeerState, Transport

    from .http1_session import Http1Session


class Http1ClientStream:
    """The request under way on a connection, and its answer; made by `Http1Session.next_stream`.

    Args:
        session: the connection.
        transport, codec, progress: its bytes, what reads and writes them, and its clock.
        head: the request's head, or why it can't be read as one.
        began: when its first byte came.
        answering: the fast path has sent the head of a response already, and a part of its body.
    """

    __slots__ = (
        "_codec", "_session", "_transport", "answering", "began", "head", "progress",
    )  # fmt: skip

    def __init__(
        self,
        session: Http1Session,
        transport: Transport,
        codec: ClientCodec,
        progress: Progress,
        head: RequestHead | ClientError,
        began: float,
        answering: bool,
    ) -> None:
        self._session = session
        self._transport = transport
        self._codec = codec
        self.progress = progress
        self.head = head
        self.began = began
        self.answering = answering

    @property
    def scope(self) -> trio.CancelScope:
        return self._session.scope

    def __repr__(self) -> str:
        return f"<Http1ClientStream {self.head!r} {'answering' if self.answering else ''}>"

    # The request

    def body_nowait(self) -> bytes | None:
        part = self._codec.read_body()
        if part is NEED_DATA:
            raise trio.WouldBlock
        return None if part is END else part

    async def receive_body(self) -> None:
        try:
            data = await self.progress.receive_from_client(self._transport)
        except TransportBroken:
            raise ClientGone("the client reset the connection") from None
        except TimedOut:
            raise ClientTooSlow("timed out while reading the request body") from None
        self._codec.feed(data)

    @property
    def trailers(self) -> list[FieldLine]:
        return self._codec.trailers

    # Whether anybody waits for the answer

    def peer_state(self) -> PeerState:
        return self._transport.peer_state()

    def ask_whether_it_is_there(self) -> bool:
        """By 100 (Continue), which HTTP/1.0 does not have."""
        if self._transport.unsent:
            return True  # that asks, too
        question = self._codec.informational(100, b"Continue", [])
        with suppress(TransportBroken):  # the answer, which is heard elsewhere
            self._transport.send_nowait(question)
        return bool(question)

    # The response

    async def send_informational(self, status: int, reason: bytes, lines: list[FieldLine]) -> None:
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
        # The fast path may have sent the head already, and a part of the body.
        close = self._session.last if self.answering else self._session.decide_whether_last()
        head = self._codec.response(status, reason, lines, close=close)
        out = [] if self.answering else [head]
        self.answering = True
        await self._send_parts(out, parts, trailers)

    async def continue_response(self, parts: list[bytes], trailers: list[FieldLine] | None) -> None:
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
        if close:
            self._session.draining = True
        parts: list[bytes] = [] if self._codec.head_only else [answer.body]
        lines = [(b"Date", http_date(int(time.time()))), *answer.lines]
        await self.begin_response(answer.status, answer.reason, lines, parts, [])
        return sum(map(len, parts))

    async def _send(self, data: bytes) -> None:
        try:
            await self.progress.send_to_client(self._transport, data)
        except TransportBroken:
            raise ClientGone("the client closed the connection before its response") from None
        except TimedOut:
            raise ClientGivenUp("the client was too slow to read the response") from None

    def upgrade(self) -> tuple[ByteStream, bytes]:
        self._session.leave_fast_path()
        return self._transport, self._codec.leave_http()
