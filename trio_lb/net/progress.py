"""Who is late in an exchange: one clock for both of its directions.

While bytes move either way, nobody is late. When none do, one side is waited for:

* **The client**, if the rest of its request is missing or it doesn't read its response. It has one
  credit for both directions (`trio_lb.net.minimum_rate`), which waiting uses up and its bytes earn
  back. Time in which the server moves bytes costs it nothing.
* **The server**, otherwise. It is not late while it waits for the rest of a request or for room
  for its response. A client that waits for 100 (Continue) is not late.
"""

from __future__ import annotations

import math
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from trio_lb.net.deadlines import loop_clock
from trio_lb.net.minimum_rate import MinimumRate
from trio_lb.net.transport import RECEIVE_SIZE, Buffer, TimedOut, Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


class Progress:
    """The clock of one exchange at a time.

    Args:
        patience: seconds without any progress; also the client's credit.
        rate: bytes that earn a client one second of it back; None: any byte earns back all of it.

    Times are those of `LoopClock.lived`: nobody is late because we stood still.

    Attributes:
        moved: when bytes last moved in either direction.
    """

    __slots__ = ("_clock", "_credit", "_held_back", "_paid", "_patience", "_waits", "moved")

    def __init__(self, patience: float, rate: int | None) -> None:
        self._clock = loop_clock()
        self._patience = patience
        self._credit = MinimumRate(patience, rate)
        self._waits = 0  # directions in which the client is waited for
        self._paid = -math.inf  # until then, the client has paid for them
        self._held_back = False
        self.moved = -math.inf

    def restart(self) -> None:
        """Another exchange begins."""
        self._credit.restart()
        self._held_back = False
        self.moved = -math.inf

    def resume(self, credit: float) -> None:
        """Go on with an exchange in which the client has so many seconds of its credit left."""
        self._credit.left = credit

    def hold_client_back(self) -> None:
        """The client waits for 100 (Continue): nobody waits for it, until that or bytes come."""
        self._held_back = True

    def let_client_go_on(self) -> None:
        """It was told to send on."""
        self._held_back = False
        self._paid = self._clock.lived()

    # The client

    async def receive_from_client(self, transport: Transport) -> bytes:
        """At least one byte, or `b""` at the end of the stream.

        Raises:
            TimedOut: the client's credit is used up.
            TransportBroken: the connection is no more.
        """
        if (data := transport.receive_nowait(RECEIVE_SIZE)) is None:
            with self._waiting_for_client():
                while (data := transport.receive_nowait(RECEIVE_SIZE)) is None:
                    if self._client_is_late():
                        raise TimedOut
                    await self._wait_for_client(transport.wait_readable)
                self._earn(len(data))
        else:
            self._earn(len(data))
        self._held_back = False
        return data

    async def send_to_client(self, transport: Transport, data: Buffer) -> None:
        """Send all of `data`; raises like `receive_from_client`.

        Progress is what reaches the client, not what fits into our socket buffer: a kernel that
        buffers megabytes for a slow peer is writable again only when much of them has been sent.
        """
        sent = transport.send_nowait(data)
        if sent < len(data):
            rest = memoryview(data)[sent:]
            with self._waiting_for_client():
                while rest:
                    unsent = transport.unsent
                    await self._wait_for_client(transport.wait_writable)
                    self._earn(unsent - transport.unsent)
                    if self._client_is_late():
                        raise TimedOut
                    rest = rest[transport.send_nowait(rest) :]
        self.moved = self._clock.lived()

    @contextmanager
    def _waiting_for_client(self) -> Iterator[None]:
        if not self._waits:
            self._paid = self._clock.lived()
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1

    def _client_is_late(self) -> bool:
        unpaid = self._clock.lived() - self._paid
        return self._credit.left <= unpaid and not self._held_back

    async def _wait_for_client(self, wait: Callable[[float], Awaitable[None]]) -> None:
        """Wait once, at most until the client may be late."""
        now = self._clock.lived()
        with suppress(TimedOut):
            late = now + self._patience if self._held_back else self._paid + self._credit.left
            await wait(self._clock.at(late))

    def _earn(self, count: int) -> None:
        """The client has moved so many bytes: have it pay for the time that this took."""
        if count <= 0:
            return
        self.moved = now = self._clock.lived()
        if self._waits and not self._held_back:
            self._credit.moved(count, now - self._paid)
        self._paid = now

    # The server

    async def receive_from_server(self, transport: Transport) -> bytes:
        """At least one byte, or `b""` at the end of the stream.

        Raises:
            TimedOut: nothing moved for too long, which is the server's fault.
            TransportBroken: the connection is no more.
        """
        began = self._clock.lived()
        while (data := transport.receive_nowait(RECEIVE_SIZE)) is None:
            if self._server_is_late(began):
                raise TimedOut
            await self._wait_for_server(transport.wait_readable, began)
        self.server_moved()
        return data

    async def send_to_server(self, transport: Transport, data: Buffer, waited: float = 0.0) -> None:
        """Send all of `data`; raises like `receive_from_server`.

        Args:
            transport, data: where to, and what.
            waited: seconds for which the server has taken nothing of it already.
        """
        began = self._clock.lived() - waited
        rest = data
        while (sent := transport.send_nowait(rest)) < len(rest):
            if sent:
                self.moved = self._clock.lived()
            rest = memoryview(rest)[sent:]
            unsent = transport.unsent
            await self._wait_for_server(transport.wait_writable, began)
            if transport.unsent < unsent:
                self.server_moved()
            if self._server_is_late(began):
                raise TimedOut
        self.moved = self._clock.lived()

    def server_moved(self) -> None:
        """Something came from the server, or it took what had waited for it."""
        self.moved = self._paid = self._clock.lived()

    def _server_is_late(self, began: float) -> bool:
        quiet_since = max(began, self.moved)
        return not self._awaits_client and quiet_since + self._patience <= self._clock.lived()

    async def _wait_for_server(
        self, wait: Callable[[float], Awaitable[None]], began: float
    ) -> None:
        """Wait once, at most until the server may be late."""
        since = self._clock.lived() if self._awaits_client else max(began, self.moved)
        with suppress(TimedOut):
            await wait(self._clock.at(since + self._patience))

    @property
    def _awaits_client(self) -> bool:
        return self._waits > 0 and not self._held_back
