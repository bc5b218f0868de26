"""The table in memory that several processes share: the owner's side, and how workers join."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import TYPE_CHECKING, Final

from trio_lb.errors import TrioLBError
from trio_lb.fast.table import Table, format_table, table_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_lb.plan import ServerPlan


class NoRoom(TrioLBError):  # noqa: N818 -- not an error: a reason to make a larger table
    """The table has no slot left for a server, or no row for a worker."""


def attach(fd: int, row: int, *, epoch: float = 0.0) -> Table:
    """A worker's view of the table that `SharedTable` made.

    Args:
        fd: the inherited `SharedTable.fd`; may be closed afterwards.
        row: from `SharedTable.lease`.
        epoch: what the times passed in show when the system's monotonic clock shows 0, in
            seconds. All processes must mean the same clock: for Trio's, whose zero is another in
            each process, this is `trio.current_time() - time.monotonic()`.

    Raises:
        ValueError: this is no table, or one of another version.
    """
    return Table(mmap.mmap(fd, 0), row, epoch)


class SharedTable:
    """The owner's side: makes the memory, deals out slots and rows, clears up after the dead.

    Attributes:
        fd: descriptor of the memory, for workers to inherit. Not inheritable by itself.
        table: the owner's view, with row 0.
        problem: why the memory is a file's, as a message; empty if it is not.

    Args:
        servers: slots, to begin with; those of a removed server are in use until `free`.
        workers: rows; more than run at one time, since old ones drain while new ones begin.
        epoch: as for `attach`.
    """

    OWNER: Final = 0
    """The owner's row: what retired workers have served. Workers have 1 to `workers`."""

    def __init__(self, servers: int, workers: int, *, epoch: float = 0.0) -> None:
        size = table_size(servers, workers + 1)
        self.fd, self.problem = _memory_file(size)
        try:
            memory = mmap.mmap(self.fd, size)
            format_table(memory, servers, workers + 1)
            self.table = Table(memory, self.OWNER, epoch)
        except BaseException:
            os.close(self.fd)
            raise
        self._servers: dict[int, ServerPlan] = {}
        self._rows: set[int] = set()

    def close(self) -> None:
        """Close the descriptor. The memory lives on while any process has a view of it."""
        os.close(self.fd)

    # Servers

    def assign(self, servers: Sequence[ServerPlan]) -> tuple[int, ...]:
        """Give the servers of a profile their slots, in its order.

        One whose address is in the table already keeps its slot, and with it state, counters and
        average, and until `adjust` also weight and maximum. The others get free slots and are
        alive. Servers that are not in this profile stay until `free`.

        Raises:
            NoRoom: too few free slots; nothing is changed.
        """
        known: dict[str, list[int]] = {}
        for slot, server in sorted(self._servers.items(), reverse=True):
            known.setdefault(server.address.url, []).append(slot)
        kept = [known.get(server.address.url) for server in servers]
        slots = [same.pop() if same else None for same in kept]
        if slots.count(None) > self.table.capacity - len(self.table):
            raise NoRoom(f"the table has room for {self.table.capacity} servers")
        return tuple(map(self._place, servers, slots))

    def adjust(self, servers: Sequence[ServerPlan], slots: Sequence[int]) -> None:
        """Give servers that have slots their weights and maxima, at once and for all workers."""
        for server, slot in zip(servers, slots, strict=True):
            self.table.adjust(slot, server.weight, server.max_connections)
            self._servers[slot] = server

    def _place(self, server: ServerPlan, slot: int | None) -> int:
        if slot is None:
            slot = self.table.add(server.weight, server.max_connections)
            self._servers[slot] = server
        return slot

    @property
    def servers(self) -> dict[int, ServerPlan]:
        """Which server has which slot; also those removed from the profile and not yet freed."""
        return dict(self._servers)

    def free(self, slot: int) -> None:
        """Empty a slot, when all workers that knew of its server were retired.

        Raises:
            RuntimeError: there still is something of it in a worker's row.
        """
        self.table.free(slot)
        del self._servers[slot]

    # Workers

    def lease(self) -> int:
        """A row for a new worker.

        Raises:
            NoRoom: all are in use.
        """
        row = next((row for row in range(1, self.table.rows) if row not in self._rows), None)
        if row is None:
            raise NoRoom(f"the table has rows for {self.table.rows - 1} workers")
        self._rows.add(row)
        return row

    def retire(self, row: int) -> int:
        """Settle what a worker left, once its process was waited for; its row is free again.

        The connection slots that it held are given back, what it had in hand leaves the sums,
        what it has served stays in them.

        Returns:
            How many connection slots it held.
        """
        given_back = self.table.retire(row)
        self._rows.discard(row)
        return given_back


def _memory_file(size: int) -> tuple[int, str]:
    """A descriptor of memory of our own that no other process can find by name.

    Where there is no such memory, or a sandbox refuses it, it is a file without a name; why that
    is so is returned as well.
    """
    try:
        fd, problem = os.memfd_create("trio-lb-table"), ""
    except (OSError, AttributeError) as exc:
        problem = getattr(exc, "strerror", "this system has none")
        fd, path = tempfile.mkstemp(prefix="trio-lb-table-")
        os.unlink(path)
    os.ftruncate(fd, size)
    return fd, problem
