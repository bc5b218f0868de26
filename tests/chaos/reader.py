"""Reads responses by the letter, and tells how the connection ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.chaos.oracle import End
from tests.support.strict_http import MalformedError, read_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.strict_http import Response


class Reader:
    """The reading end of a client's connection.

    Args:
        stream: the connection.
        slow: read a little at a time.
        limit: of bytes, at which the client leaves.

    Attributes:
        interim: the 1xx responses before the one that is read.
        received: of the last response, and of what came behind it.
        unread: what came behind it.
        end: of the connection.
        closing: the last response said that it is the last one.
    """

    def __init__(self, stream: trio.SocketStream, *, slow: bool, limit: int | None) -> None:
        self._stream = stream
        self._size = 700 if slow else 1 << 17
        self._pause = 0.002 if slow else 0.0
        self._limit = limit
        self._count = 0
        self.interim: tuple[Response, ...] = ()
        self.received = b""
        self.unread = b""
        self.end = End.OPEN
        self.closing = False

    @property
    def reached(self) -> bool:
        """Whether as many bytes have come as make the client leave."""
        return self._limit is not None and self._count >= self._limit

    @property
    def may_continue(self) -> bool:
        """Whether 100 (Continue) has come."""
        return any(response.status == 100 for response in self.interim)

    async def next_response(self, method: str, notify: Callable[[], None]) -> Response | None:
        """Reads the next final response; None if the connection ended before its head did.

        Args:
            method: of the request that it answers.
            notify: called at each 1xx.

        Raises:
            MalformedError: what comes is none.
        """
        self.interim, parsed = (), -1
        while not self.reached:
            closed = self.end is not End.OPEN
            if closed or _worth_parsing(self.unread, parsed):
                parsed = len(self.unread)
                if (response := self._parse(method, closed=closed)) is not None:
                    if response.status >= 200 or response.status == 101:
                        said = (response.header("connection") or "").lower()
                        self.closing = "close" in said
                        return response
                    self.interim += (response,)
                    notify()
                    parsed = -1
                    continue
            if closed:
                self.received, self.unread = self.unread, b""
                return None
            await self._receive()
        return None

    def partial(self, method: str) -> Response | None:
        """What there is of the response that is being read, as a cut one; None without a head.

        Raises:
            MalformedError: it is none.
        """
        response = self._parse(method, closed=True)
        while response is not None and response.status < 200 and response.status != 101:
            self.interim += (response,)
            response = self._parse(method, closed=True)
        self.end = End.RESET if self.end is End.OPEN else self.end
        return response

    async def rest(self) -> bytes:
        """Reads up to the end of the connection; what came is taken out of `unread` as well."""
        data = bytearray(self.unread)
        try:
            while self.end is End.OPEN and not self.reached:
                self.unread = b""
                await self._receive()
                data += self.unread
        finally:
            self.unread = bytes(data)
        return self.unread

    def _parse(self, method: str, *, closed: bool) -> Response | None:
        if closed and b"\r\n\r\n" not in self.unread:
            if not b"HTTP/1.1 "[: len(self.unread)] == self.unread[:9]:
                raise MalformedError(f"no response: {self.unread[:80]!r}")
            return None
        response = read_response(self.unread, method, closed=closed)
        if response is not None:
            self.received = response.raw
            self.unread = self.unread[len(response.raw) :]
        return response

    async def _receive(self) -> None:
        try:
            data = await self._stream.receive_some(self._size)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.end = End.RESET
            return
        if not data:
            self.end = End.FIN
        self._count += len(data)
        self.unread += data
        if self._pause:
            await trio.sleep(self._pause)


def _worth_parsing(data: bytes, parsed: int) -> bool:
    """Whether there may be a whole response in `data`, if there was none before.

    Parsing begins at the front each time, which is long when much has come.
    """
    if parsed < 20_000 or len(data) > 2 * parsed:
        return True
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line[15:])
    return b"\r\n\r\n" in data[parsed - 3 :]
