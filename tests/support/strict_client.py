"""A client that sends raw bytes, whole or in pieces, and reads responses by the letter."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from tests.support.recorder import let_others_read
from tests.support.strict_http import Response, read_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

#: Up to this size, in bytes, `in_pieces` cuts everywhere; above, at so many places.
SHORT = 700
CUTS = 200


def in_pieces(data: bytes, seed: str) -> list[bytes]:
    """Single bytes, or, of what is long, pieces at random positions, the same for every run."""
    if len(data) <= SHORT:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(random.Random(seed).sample(range(1, len(data)), CUTS))
    return [data[i:j] for i, j in zip([0, *cuts], [*cuts, len(data)], strict=True)]


class StrictClient:
    """One connection; see `open_strict_client`.

    Attributes:
        received: every byte.
        interim: the statuses of the 1xx responses so far.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._unread = b""
        self._closed = False
        self.received = bytearray()
        self.interim: list[int] = []

    async def send(self, pieces: Sequence[bytes], *, eof: bool = False) -> None:
        """Sends pieces one after the other, as far as the peer takes them."""
        try:
            for piece in pieces:
                await self._stream.send_all(piece)
                await let_others_read()
            if eof:
                await self._stream.send_eof()
        except trio.BrokenResourceError:
            pass  # answered and closed before the end; what came of it, reading tells

    async def finish(self) -> None:
        """Ends the sending direction."""
        await self._stream.send_eof()

    async def response(self, method: str) -> Response | None:
        """Reads the next final response; None if the connection ended before it.

        Args:
            method: of the request that it answers.

        Raises:
            MalformedError: what comes is no response.
            trio.BrokenResourceError: the connection was reset.
        """
        while True:
            response = read_response(self._unread, method, closed=self._closed)
            if response is None:
                if self._closed:
                    return None
                await self._receive()
                continue
            self._unread = self._unread[len(response.raw) :]
            if response.status >= 200:
                return response
            self.interim.append(response.status)

    async def rest(self) -> bytes:
        """Reads what comes up to the end of the connection.

        Raises:
            trio.BrokenResourceError: it is a reset.
        """
        while not self._closed:
            await self._receive()
        return self._unread

    async def _receive(self) -> None:
        data = await self._stream.receive_some(65536)
        self._closed = not data
        self.received += data
        self._unread += data


@asynccontextmanager
async def open_strict_client(url: str, source: str | None = None) -> AsyncIterator[StrictClient]:
    """Connects to `http://host:port`, from the address `source`; closes at the end."""
    parts = urlsplit(url)
    stream = await trio.open_tcp_stream(
        parts.hostname or "", parts.port or 80, local_address=source
    )
    try:
        yield StrictClient(stream)
    finally:
        stream.socket.close()
