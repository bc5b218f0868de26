"""The connection with one server, for one request.

Whatever breaks here is the server's: `ResponseBroken` or `ResponseTimeout`. Nothing of a client
is known in this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_lb.errors import ConnectionStale, ResponseBroken, ResponseTimeout
from trio_lb.http.heads import FieldLine, ResponseHead
from trio_lb.http.personal import makes_personal
from trio_lb.http1.h11_codec import ServerCodec, Signal
from trio_lb.net.deadlines import NEVER, Deadline, loop_clock
from trio_lb.net.transport import RECEIVE_SIZE, Buffer, TimedOut, Transport, TransportBroken

if TYPE_CHECKING:
    from trio_lb.net.progress import Progress
    from trio_lb.net.transport import ByteStream


#: No server waits for less than that (seconds) before it gives up on a request. One that does so
#: earlier has sent its 408 to nobody, on a connection that was idle for too long.
_SHORTEST_PATIENCE = 1.0

#: Bytes of a request that fit into any server's system, whether it reads them or not.
_FITS = 64 << 10


class UpstreamConnection:
    """A connection to a server while it is used for a request.

    Args:
        transport: its bytes.
        reused: it came from the pool.
        timeout: seconds from the end of the request to a whole response head.
        progress: the exchange's clock.
        proxy_header: the PROXY header that it begins with, or began with; none if empty.
        personal: it has become the client's own.

    Attributes:
        reused, proxy_header: as above.
        sent: when the last byte of the request had left; `NEVER` before that. Time in which we
            stood still since then does not count: it is as if that had been later.
        personal: it is the client's own, and must never serve another one.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        reused: bool,
        timeout: float,
        progress: Progress,
        proxy_header: bytes = b"",
        personal: bool = False,
    ) -> None:
        self.transport = transport
        self.reused = reused
        self.proxy_header = proxy_header
        self.personal = personal
        self._codec = ServerCodec()
        self._timeout = timeout
        self._progress = progress
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
        use = "reused" if self.reused else "fresh"
        return f"<UpstreamConnection {self.transport!r} {use}>"

    # The request

    def begin_request(
        self,
        method: bytes,
        target: bytes,
        lines: list[FieldLine],
        parts: list[bytes],
        trailers: list[FieldLine] | None,
    ) -> bool:
        """Send what leaves at once of the head and of the body as far as it is known.

        Args:
            method, target, lines: the head.
            parts: the body's beginning.
            trailers: where `parts` is the whole body, its trailers; None if more is to come.

        Returns:
            False if something is left for `send_rest`.
        """
        self.personal = self.personal or makes_personal(lines)
        self._begin()
        head = self._codec.request(method, target, lines)
        data = self._framed([head if self.reused else self.proxy_header + head], parts, trailers)
        try:
            sent = self.transport.send_nowait(data)
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
        if self.reused:
            self._early = Deadline(_SHORTEST_PATIENCE, since)

    async def send_rest(self, trailers: list[FieldLine] | None) -> None:
        """Send what `begin_request` left; raises like `continue_request`."""
        if self._unsent:
            await self._send(self._unsent, trailers)

    async def continue_request(self, parts: list[bytes], trailers: list[FieldLine] | None) -> None:
        """Send more of the body, up to its end if `trailers` is not None.

        Raises:
            ResponseBroken: the connection broke.
            ResponseTimeout: the server takes nothing.
        """
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
            await self._progress.send_to_server(self.transport, data, waited)
        except TransportBroken:
            raise self._broken("the server closed the connection during the request") from None
        except TimedOut:
            raise ResponseTimeout("the server took nothing of the request for too long") from None
        self._size += len(data)
        if trailers is not None:
            self._whole = True
            self.expect_answer()

    def expect_answer(self, sent: float | None = None) -> None:
        """No more of the request will be sent: from now, or then, on the server owes an answer."""
        self._answer = Deadline(self._timeout, since=sent)
        self._expect_head_by(self._answer)

    def expect_first_word(self) -> None:
        """The head has left, and the body waits for 100 (Continue): a word is owed from now on."""
        if not self._body_goes_on:
            self._expect_head_by(Deadline(self._timeout))

    def body_goes_on(self) -> None:
        """The body does not wait, or no longer: the server owes nothing until all has left."""
        self._body_goes_on = True
        if not self._whole:
            self._expect_head_by(None)

    def _expect_head_by(self, due: Deadline | None) -> None:
        self._due = due
        if self._reading_head:
            self.transport.read_by = self._head_by

    @property
    def sent(self) -> float:
        return NEVER if self._answer is None else self._answer.since

    @property
    def _head_by(self) -> float:
        return NEVER if self._due is None else self._due.by

    # The response

    async def read_head(self) -> ResponseHead:
        """The next head, which may be a 1xx.

        Raises:
            ResponseBroken: the connection ended first, or what came is no head.
            ResponseTimeout: the request is complete and `timeout` is over.
        """
        codec = self._codec
        while True:
            try:
                head = codec.read_head()
            except ResponseBroken as exc:
                raise self._broken(exc.reason) from exc
            if isinstance(head, ResponseHead):
                lines = ((lower, value) for _, lower, value in head.fields)
                self.personal = self.personal or makes_personal(lines)
                early, self._early = self._early, None
                if early is not None and loop_clock()() < early.by and _gives_up(head):
                    raise ConnectionStale("the server had given up waiting for a request (408)")
                return head
            try:
                data = self.transport.receive_nowait(RECEIVE_SIZE)
                if data is None:
                    self._reading_head = True
                    await self.transport.wait_readable(self._head_by)
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
        if self.reused and not self._codec.answered:
            return ConnectionStale(reason)
        return ResponseBroken(reason)

    def body_nowait(self) -> bytes | Signal:
        """The next piece of the response's body that is already here, or a signal.

        Raises:
            ResponseBroken: the body is malformed or was cut short.
        """
        return self._codec.read_body()

    async def receive_body(self) -> None:
        """Receive more of the response's body, for `body_nowait`.

        Raises:
            ResponseBroken: the connection was reset.
            ResponseTimeout: nothing came for too long.
        """
        try:
            data = await self._receive_from_server()
        except TransportBroken:
            raise ResponseBroken("the server reset the connection during its response") from None
        except TimedOut:
            raise ResponseTimeout("the server sent nothing of its response for too long") from None
        self._codec.feed(data)

    async def _receive_from_server(self) -> bytes:
        while True:
            try:
                return await self._progress.receive_from_server(self.transport)
            except TimedOut:
                if not self._takes_request():
                    raise

    def _takes_request(self) -> bool:
        """Whether the server is still taking a request that has left, but for our system's buffers.

        These hold megabytes. It was not looked at before the first time that this matters: then a
        large request has the benefit of the doubt.
        """
        waiting, before = self.transport.unsent if self._whole else 0, self._waiting
        self._waiting = waiting
        if before is None:
            return waiting > 0 and self._size > _FITS
        return waiting < before

    @property
    def trailers(self) -> list[FieldLine]:
        """Those of the response, once its body has ended."""
        return self._codec.trailers

    @property
    def switched(self) -> bool:
        """A 101 was read, and the whole request, which made the offer, had left before it."""
        return self._codec.switched and self._whole

    def upgrade(self) -> tuple[ByteStream, bytes]:
        """After a 101: the bytes of the other protocol, and those that have already come."""
        return self.transport, self._codec.leave_http()

    @property
    def reusable(self) -> bool:
        """Both messages are complete, and the connection is good for another request."""
        return self._whole and self._codec.reusable


def _gives_up(head: ResponseHead) -> bool:
    """A 408 that ends its connection (RFC 9110 section 15.5.9)."""
    options = [value.lower() for _, lower, value in head.fields if lower == b"connection"]
    return head.status == 408 and b"close" in b",".join(options).replace(b" ", b"").split(b",")
