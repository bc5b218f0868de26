"""The interface of client streams: each is one request and its response.

HTTP/1.1 has one at a time on a connection (`http1_stream`); a version that has many is another
class with this interface. All errors are the client's: `ClientGone` if it has left, `ClientError`
if it can still be answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import trio

    from trio_lb.errors import ClientError
    from trio_lb.http.answers import Answer
    from trio_lb.http.heads import FieldLine, RequestHead
    from trio_lb.net.progress import Progress
    from trio_lb.net.transport import ByteStream, PeerState


class ClientStream(Protocol):
    """One request of a client, and its answer."""

    @property
    def head(self) -> RequestHead | ClientError:
        """The request's head, or why it can't be read as one."""

    @property
    def began(self) -> float:
        """When its first byte came, on Trio's clock."""

    @property
    def answering(self) -> bool:
        """Part of a response has gone out, and its end has not."""

    @property
    def progress(self) -> Progress:
        """The clock of this exchange."""

    @property
    def scope(self) -> trio.CancelScope:
        """Around the task that serves it, which ends when the client is found to have left."""

    # The request

    def body_nowait(self) -> bytes | None:
        """The next piece of the request's body that is already here.

        Returns:
            None at the end of the body.

        Raises:
            ClientError: malformed.
            ClientGone: the client left in the middle of it.
            trio.WouldBlock: nothing is here.
        """

    async def receive_body(self) -> None:
        """Receive more of the request's body, for `body_nowait`.

        Raises:
            ClientError: nothing came for too long, or too little (408).
            ClientGone: the client left.
        """

    @property
    def trailers(self) -> list[FieldLine]:
        """Those of the request, once its body has ended."""

    # Whether anybody waits for the answer

    def peer_state(self) -> PeerState:
        """Is the client still there?"""

    def ask_whether_it_is_there(self) -> bool:
        """Send something that a reading client discards and a closed socket answers with a reset.

        Returns:
            False if it can't be asked.
        """

    # The response

    async def send_informational(self, status: int, reason: bytes, lines: list[FieldLine]) -> None:
        """Pass on a 1xx response, if the client would understand it.

        Raises:
            ClientGone: the client left.
        """

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
            status, reason, lines: the head; a body without a length is framed by the stream.
            parts: pieces of the body.
            trailers: where the response ends with `parts`, its trailers; None if more is to come.

        Raises:
            ClientGone: the client left, or takes its answer too slowly.
        """

    async def continue_response(self, parts: list[bytes], trailers: list[FieldLine] | None) -> None:
        """Send more of the response's body, up to its end if `trailers` is not None.

        Raises:
            ClientGone: as `begin_response`.
        """

    async def answer(self, answer: Answer, *, close: bool) -> int:
        """Send an answer of our own; raises like `begin_response`.

        Args:
            answer: that.
            close: the rest of the request is not read any more.

        Returns:
            Bytes of its body.
        """

    def upgrade(self) -> tuple[ByteStream, bytes]:
        """After a 101: the bytes of the other protocol, and those that have already come."""
