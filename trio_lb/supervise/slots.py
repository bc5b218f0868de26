"""Table slots of servers, from the reload that brings one to when nobody knows of it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_lb.pool import Members

if TYPE_CHECKING:
    from collections.abc import Collection

    from trio_lb.plan import ServerPlan
    from trio_lb.pool import Member, SharedTable

    from .monitor import WorkerMonitor


class ServerSlots:
    """The slots of a pool's servers.

    A slot is freed when its server is none of the present members, no process picks it, and
    nothing of it is in hand.

    Args:
        table: where they are.
    """

    def __init__(self, table: SharedTable) -> None:
        self._table = table
        self._version = 0
        self._present: frozenset[int] = frozenset()
        #: Of servers that are not there any more, or have not come to be.
        self._departed: set[int] = set()

    def assign(self, servers: Collection[ServerPlan]) -> tuple[Members, list[Member]]:
        """Give servers their slots; as yet nobody knows. `commit` or `undo` follows.

        Returns:
            The members, and those of them that are new.

        Raises:
            NoRoom: nothing is changed.
        """
        before = self._table.servers
        slots = self._table.assign(tuple(servers))
        self._departed -= set(slots)
        self._version += 1
        members = Members(tuple(servers), slots, self._version)
        return members, [member for member in members if member.table_slot not in before]

    def commit(self, members: Members) -> None:
        """They are the servers from now on, with their weights and maxima."""
        self._table.adjust([member.server for member in members], members.table_slots)
        before, self._present = self._present, frozenset(members.table_slots)
        self._departed |= before - self._present

    def undo(self, members: Members) -> None:
        """They have not come to be."""
        self._departed |= set(members.table_slots) - self._present

    def free(self, monitors: Collection[WorkerMonitor]) -> None:
        """Free those that nobody picks, or has anything in hand of.

        Args:
            monitors: of all processes that there are.
        """
        for slot in tuple(self._departed):
            picked = any(monitor.may_pick(slot) for monitor in monitors)
            if not picked and not self._table.table.connections(slot):
                self._table.free(slot)
                self._departed.remove(slot)
