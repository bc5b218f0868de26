"""A request's body on its way: streamed, and remembered while it is small.

While all of the body so far is remembered, the request can be retried on another server. Beyond
the limit the copy is dropped, and the request can't be retried any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_lb.errors import ClientError
from trio_lb.http.forwarding import trailer_lines

if TYPE_CHECKING:
    from trio_lb.downstream.stream import ClientStream
    from trio_lb.http.heads import FieldLine


class RequestBody:
    """The body of the request that a client is sending.

    Args:
        stream: where it comes from.
        keep: bytes up to which it is remembered.
        limit: bytes above which it is refused; None for no limit.
        gone: bytes that came, and went on to a server, before this was made.

    Attributes:
        size: bytes that came so far.
        kept: all pieces that came since, to be sent first; empty once there were too many.
        complete: the body has ended, and the trailers are known.
        replayable: `kept` is all that came.
    """

    def __init__(self, stream: ClientStream, keep: int, limit: int | None, gone: int = 0) -> None:
        self._stream = stream
        self._keep = keep
        self._limit = limit
        self.size = gone
        self.kept: list[bytes] = []
        self.complete = False
        self.replayable = not gone

    @property
    def trailers(self) -> list[FieldLine] | None:
        """The trailers that may go on, or None while the body is not complete."""
        return trailer_lines(self._stream.trailers) if self.complete else None

    def take_available(self) -> None:
        """Remember what has already arrived; never more than one receive's worth.

        Raises:
            ClientError: malformed or too large.
        """
        while not self.complete:
            try:
                data = self._next_nowait()
            except trio.WouldBlock:
                return
            if data is not None:
                self.kept.append(data)

    async def take_all(self) -> None:
        """Receive the whole of a body that is known to be small.

        Raises:
            ClientError: malformed, or too slow.
            ClientGone: the client left.
        """
        while not self.complete:
            await self._stream.receive_body()
            self.take_available()

    async def next(self) -> bytes | None:
        """The next piece that is not in `kept` yet; None at the end.

        It joins `kept` as long as there is room; once there is not, `kept` is let go.

        Raises:
            ClientError: malformed, too large (413) or too slow (408).
            ClientGone: the client left.
        """
        while True:
            try:
                data = self._next_nowait()
            except trio.WouldBlock:
                await self._stream.receive_body()
                continue
            if data is not None and self.replayable:
                if self.size <= self._keep:
                    self.kept.append(data)
                else:
                    self.replayable = False
                    self.kept.clear()
            return data

    def _next_nowait(self) -> bytes | None:
        data = self._stream.body_nowait()
        if data is None:
            self.complete = True
            return None
        self.size += len(data)
        if self._limit is not None and self.size > self._limit:
            raise ClientError("the request body is too large", 413)
        return data
