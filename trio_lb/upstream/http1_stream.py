"""HTTP/1.1 with a server: one request and its response; see `trio_lb.upstream.stream`.

A connection has one stream at a time. Between two of them it is only a transport in the idle pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_lb.errors import ConnectionStale, ResponseBroken, ResponseTimeout
from trio_lb.http.heads import FieldLine, ResponseHead
from trio_lb.http.personal import makes_personal
from trio_lb.http1.codec import END, NEED_DATA
from trio_lb.net.deadlines import NEVER, Deadline, loop_clock
from trio_lb.net.transport import RECEIVE_SIZE, Buffer, TimedOut, Transport, TransportBroken

if TYPE_CHECKING:
    from trio_lb.http1.codec import ServerCodec
    from trio_lb.net.progress import Progress
    from trio_lb.net.transport import ByteStream

    from .idle_pool import IdleConnections

#: No server waits for less than that (seconds) before it gives up on a request. One that does so
#: earlier has sent its 408 to nobody, on a connection that was idle for too long.
_SHORTEST_PATIENCE = 1.0

#: Bytes of a request that fit into any server's system, whether it reads them or not.
_FITS = 64 << 10


class Http1UpstreamStream:
    """A request on a connection that has no other one meanwhile; `trio_lb.upstream.stream`.

    Args:
        transport: the connection's bytes; closed by `close`, closed or kept by `release`.
        codec: takes its messages apart.
        progress: the exchange's clock.
        timeout: seconds from the end of the request to a whole response head.
        reused: the connection has served another request before.
        proxy_header: the PROXY header that it begins with, or began with; none if empty.
        personal: it is the client's own already.
        idle: where it goes when it is idle; None: it is closed.
        server: the number of its server there.
    """

    def __init__(
        self,
        transport: Transport,
        codec: ServerCodec,
        progress: Progress,
        timeout: float,
        *,
        reused: bool,
        proxy_header: bytes = b"",
        personal: bool = False,
        idle: IdleConnections | None = None,
        server: int = 0,
    ) -> None:
        self._transport = transport
        self._progress = progress
        self._timeout = timeout
        self._reused = reused
        self._proxy_header = proxy_header
        self._personal = personal  # and must never serve another client
        self._idle = idle
        self._server = server
        self._codec = codec
        self._answer: Deadline | None = None  # from when the last byte of the request had left
        self._due: Deadline | None = None
        self._reading_head = False
        self._unsent = memoryview(b"")
        self._body_goes_on = False  # without waiting for 100 (Continue), or no longer
        self._whole = False  # the last byte of the request has left
        self._size = 0  # bytes of the request that have left
        self._waiting: int | None = None  # of these, in our system, when it was looked at last
        self._early: Deadline | None = None  # until then, a 408 as first head is no answer

    def __repr__(self) -> str:
        use = "reused" if self._reused else "fresh"
        return f"<Http1UpstreamStream {self._transport!r} {use}>"

    # The request

    def begin_request(
        self,
        method: bytes,
        target: bytes,
        lines: list[FieldLine],
        parts: list[bytes],
        trailers: list[FieldLine] | None,
    ) -> bool:
        self._personal = self._personal or makes_personal(lines)
        self._begin()
        head = self._codec.request(method, target, lines)
        data = self._framed([head if self._reused else self._proxy_header + head], parts, trailers)
        try:
            sent = self._transport.send_nowait(data)
        except TransportBroken:
            sent = 0  # the server may have answered before: `send_rest` raises it again
        self._size += sent
        self._unsent = memoryview(data)[sent:]
        if not self._unsent and trailers is not None:
            self._whole = True
            self.expect_answer()
        return not self._unsent

    def _begin(self, since: float | None = None) -> None:
        """The request begins; on a reused connection a 408 may be about the time before it."""
        if self._reused:
            self._early = Deadline(_SHORTEST_PATIENCE, since)

    async def send_rest(self, trailers: list[FieldLine] | None) -> None:
        if self._unsent:
            await self._send(self._unsent, trailers)

    async def continue_request(self, parts: list[bytes], trailers: list[FieldLine] | None) -> None:
        await self._send(self._framed([], parts, trailers), trailers)

    def _framed(
        self, out: list[bytes], parts: list[bytes], trailers: list[FieldLine] | None
    ) -> bytes:
        codec = self._codec
        out += [codec.body(part) for part in parts]
        if trailers is not None:
            out.append(codec.end(trailers))
        return out[0] if len(out) == 1 else b"".join(out)

    async def _send(
        self, data: Buffer, trailers: list[FieldLine] | None, waited: float = 0.0
    ) -> None:
        try:
            await self._progress.send_to_server(self._transport, data, waited)
        except TransportBroken:
            raise self._broken("the server closed the connection during the request") from None
        except TimedOut:
            raise ResponseTimeout("timed out while sending the request to the server") from None
        self._size += len(data)
        if trailers is not None:
            self._whole = True
            self.expect_answer()

    def expect_answer(self, sent: float | None = None) -> None:
        self._answer = Deadline(self._timeout, since=sent)
        self._expect_head_by(self._answer)

    def expect_first_word(self) -> None:
        if not self._body_goes_on:
            self._expect_head_by(Deadline(self._timeout))

    def body_goes_on(self) -> None:
        self._body_goes_on = True
        if not self._whole:
            self._expect_head_by(None)

    def _expect_head_by(self, due: Deadline | None) -> None:
        self._due = due
        if self._reading_head:
            self._transport.read_by = self._head_by

    @property
    def sent(self) -> float:
        return NEVER if self._answer is None else self._answer.since

    @property
    def _head_by(self) -> float:
        return NEVER if self._due is None else self._due.by

    # The response

    async def read_head(self) -> ResponseHead:
        codec = self._codec
        while True:
            try:
                head = codec.read_head()
            except ResponseBroken as exc:
                raise self._broken(exc.reason) from exc
            if isinstance(head, ResponseHead):
                self._personal = self._personal or makes_personal(head.fields)
                early, self._early = self._early, None
                if early is not None and _gives_up(head) and loop_clock()() < early.by:
                    raise ConnectionStale("the server had timed out waiting for a request (408)")
                return head
            try:
                data = self._transport.receive_nowait(RECEIVE_SIZE)
                if data is None:
                    self._reading_head = True
                    await self._transport.wait_readable(self._head_by)
                    continue
            except TransportBroken:
                raise self._broken("the server reset the connection") from None
            except TimedOut:
                if self._takes_request():
                    self.expect_answer()  # anew: it can't answer what it has not got
                    continue
                reason = f"the server did not answer within {self._timeout:g} s"
                raise ResponseTimeout(reason, self._due.since if self._due else None) from None
            finally:
                self._reading_head = False
            self._progress.server_moved()
            codec.feed(data)

    def _broken(self, reason: str) -> ResponseBroken:
        if self._reused and not self._codec.answered:
            return ConnectionStale(reason)
        return ResponseBroken(reason)

    def available(self) -> tuple[list[bytes], list[FieldLine] | None]:
        codec = self._codec
        parts: list[bytes] = []
        while True:
            part = codec.read_body()
            if part is END:
                return parts, codec.trailers
            if part is NEED_DATA:
                return parts, None
            parts.append(part)

    async def receive_body(self) -> None:
        try:
            data = await self._receive_from_server()
        except TransportBroken:
            raise ResponseBroken("the server reset the connection during its response") from None
        except TimedOut:
            raise ResponseTimeout("timed out while reading the response from the server") from None
        self._codec.feed(data)

    async def _receive_from_server(self) -> bytes:
        while True:
            try:
                return await self._progress.receive_from_server(self._transport)
            except TimedOut:
                if not self._takes_request():
                    raise

    def _takes_request(self) -> bool:
        """Whether the server is still taking a request that has left, but for our system's buffers.

        These hold megabytes. It was not looked at before the first time that this matters: then a
        large request has the benefit of the doubt.
        """
        waiting, before = self._transport.unsent if self._whole else 0, self._waiting
        self._waiting = waiting
        if before is None:
            return waiting > 0 and self._size > _FITS
        return waiting < before

    @property
    def switched(self) -> bool:
        return self._codec.switched and self._whole

    def upgrade(self) -> tuple[ByteStream, bytes]:
        return self._transport, self._codec.leave_http()

    # The end

    def release(self) -> Transport | None:
        """Kept is a connection on which both messages are complete, with no byte left over."""
        if not (self._whole and self._codec.reusable):
            self.close()
        elif self._personal:
            return self._transport
        elif self._idle is None:
            self.close()
        else:
            now = trio.current_time()
            self._idle.put(self._server, self._transport, now, self._proxy_header)
        return None

    def close(self) -> None:
        self._transport.close()


def _gives_up(head: ResponseHead) -> bool:
    """A 408 that ends its connection (RFC 9110 section 15.5.9)."""
    if head.status != 408:
        return False
    options = [value.lower() for _, lower, value in head.fields if lower == b"connection"]
    return b"close" in b",".join(options).replace(b" ", b"").split(b",")
