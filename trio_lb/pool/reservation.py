"""A connection slot of a server, taken for one exchange and given back exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from trio_lb.fast.table.table import Table
    from trio_lb.plan import ServerPlan


class Reservation:
    """Made by `ServerPool.reserve`; use it as a context manager.

    The slot is already taken when the reservation is made, so nothing that can be cancelled may
    stand between `reserve` and `with`. Leaving the block gives it back, whatever happened inside;
    leaving it again does nothing.

    Attributes:
        slot: the server's number in the pool.
        server: what the profile says about it.
        life: which of the server's lives it was made in; see `ServerPool.suspect`.
    """

    __slots__ = ("_at", "_held", "_table", "life", "server", "slot")

    def __init__(self, table: Table, table_slot: int, slot: int, server: ServerPlan) -> None:
        self._table = table
        self._at = table_slot
        self._held = True
        self.life = table.life(table_slot)
        self.slot = slot
        self.server = server

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Give the slot back now; what is reported of the exchange later still counts."""
        if self._held:
            self._held = False
            self._table.release(self._at)

    def answered(self, now: float, seconds: float, status: int) -> None:
        """The first byte of a response came `seconds` after the request had been sent."""
        self._table.answered(self._at, now, seconds, status)

    def completed(self, bytes_received: int, bytes_sent: int) -> None:
        """The exchange is complete; so many bytes came from the server and went to it."""
        self._table.completed(self._at, bytes_received, bytes_sent)

    def failed(self, now: float, seconds: float = 0.0) -> None:
        """The server failed, after so long."""
        self._table.failed(self._at, now, seconds)

    def __repr__(self) -> str:
        state = "held" if self._held else "given back"
        return f"<Reservation of {self.server.name}: {state}>"
