"""The interface of upstream streams: each is one request to a server and its response.

HTTP/1.1 has one at a time on a connection (`http1_stream`); a version that has many is another
class with this interface. All errors are the server's: `ResponseBroken` or `ResponseTimeout`.
`trio_lb.upstream.connector` opens them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trio_lb.http.heads import FieldLine, ResponseHead
    from trio_lb.net.transport import ByteStream, Transport


class UpstreamStream(Protocol):
    """One request to a server, and its answer."""

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

    async def send_rest(self, trailers: list[FieldLine] | None) -> None:
        """Send what `begin_request` left; raises like `continue_request`."""

    async def continue_request(self, parts: list[bytes], trailers: list[FieldLine] | None) -> None:
        """Send more of the body, up to its end if `trailers` is not None.

        Raises:
            ResponseBroken: the connection broke.
            ResponseTimeout: the server takes nothing.
        """

    @property
    def sent(self) -> float:
        """When the last byte of the request had left, on Trio's clock; `NEVER` before that.

        Time in which we stood still since then does not count: it is as if that had been later.
        """

    # From when on the server owes an answer

    def expect_answer(self, sent: float | None = None) -> None:
        """Start the response timeout: the whole request has been sent, now or at `sent`."""

    def expect_first_word(self) -> None:
        """Start the timeout of a 100 (Continue): the head has been sent, and the body waits."""

    def body_goes_on(self) -> None:
        """Stop that timeout: the body is being sent, and no response is due before its end."""

    # The response

    async def read_head(self) -> ResponseHead:
        """The next head, which may be a 1xx.

        Raises:
            ConnectionStale: the server had closed a connection that it kept, or is about to.
            ResponseBroken: the connection ended first, or what came is no head.
            ResponseTimeout: the server owed an answer for too long.
        """

    def available(self) -> tuple[list[bytes], list[FieldLine] | None]:
        """The pieces of the response's body that are here, and its trailers if its end is, too.

        Raises:
            ResponseBroken: the body is malformed or was cut short.
        """

    async def receive_body(self) -> None:
        """Receive more of the response's body, for `available`.

        Raises:
            ResponseBroken: the connection was reset.
            ResponseTimeout: nothing came for too long.
        """

    @property
    def switched(self) -> bool:
        """A 101 was read, and the whole request, which made the offer, had left before it."""

    def upgrade(self) -> tuple[ByteStream, bytes]:
        """After a 101: the bytes of the other protocol, and those that have already come."""

    # The end

    def release(self) -> Transport | None:
        """The exchange is over: keep what can serve others, and close what can't.

        Returns:
            A connection that is, or has become, the client's own (`trio_lb.http.personal`), from
            now on its taker's to close; None if there is none.
        """

    def close(self) -> None:
        """The exchange is over, and nothing is to be kept of it."""
