"""A connection slot of a server, taken for one exchange and given back exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from trio_lb.fast.table import Table
    from trio_lb.pool.members import Member


class Reservation:
    """Made by `ServerPool.reserve`; use it as a context manager.

    The slot is already taken when the reservation is made, so nothing that can be cancelled may
    stand between `reserve` and `with`. Leaving the block gives it back, whatever happened inside;
    leaving it again does nothing. That its server is no member of the pool any more changes
    nothing: as long as the slot is held, nobody else gets that place in the table.

    Attributes:
        member: the server, as it was when the reservation was made.
        server: what the profile says about it.
        life: which of the server's lives it was made in; see `ServerPool.suspect`.
    """

    __slots__ = ("_held", "_is_member", "_table", "life", "member", "server")

    def __init__(self, table: Table, member: Member, is_member: Callable[[Member], bool]) -> None:
        self._table = table
        self._is_member = is_member
        self._held = True
        self.life = table.life(member.table_slot)
        self.member = member
        self.server = member.server

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
            self._table.release(self.member.table_slot)

    @property
    def _counts(self) -> bool:
        """Whether the table still has the server for certain."""
        return self._held or self._is_member(self.member)

    def answered(self, now: float, seconds: float, status: int) -> None:
        """The first byte of a response came `seconds` after the request had been sent."""
        if self._counts:
            self._table.answered(self.member.table_slot, now, seconds, status)

    def completed(self, bytes_received: int, bytes_sent: int) -> None:
        """The exchange is complete; so many bytes came from the server and went to it."""
        if self._counts:
            self._table.completed(self.member.table_slot, bytes_received, bytes_sent)

    def failed(self, now: float, seconds: float = 0.0) -> None:
        """The server failed, after so long."""
        if self._counts:
            self._table.failed(self.member.table_slot, now, seconds)

    def __repr__(self) -> str:
        state = "held" if self._held else "given back"
        return f"<Reservation of {self.server.name}: {state}>"
