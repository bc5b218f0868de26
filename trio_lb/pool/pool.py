"""The servers of a profile: picked, taken out, brought back, counted."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from trio_lb.fast.table.block import format_table, table_size
from trio_lb.fast.table.failures import Failures
from trio_lb.fast.table.outages import Outages
from trio_lb.fast.table.table import Table
from trio_lb.pool.algorithms import ALGORITHMS
from trio_lb.pool.evidence import Evidence
from trio_lb.pool.reservation import Reservation
from trio_lb.pool.state import ServerCounters, State, StateChange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_lb.fast.table.selection import Selection
    from trio_lb.plan import Algorithm, ServerPlan


class ServerPool:
    """Servers under one algorithm. A server's slot is its place in the list, from 0.

    All start alive, in memory of this process alone, unless a table is passed in: then they are
    what it says, and only servers of this list are picked, whoever else is in the table. (Where
    they are in it is nobody's business but this class's: `slots`.) Methods that take a slot raise
    IndexError for one that is not there.

    Args:
        servers: at least one.
        table: shared with other processes; `SharedTable.table` or from `attach`.
        slots: where the servers are in that table, from `SharedTable.assign`.
        notify: called with every change of a state that was made through this object.

    Attributes:
        servers: as passed in.
        table: where they are.
        notify: as passed in; may be set later.
    """

    def __init__(
        self,
        servers: Sequence[ServerPlan],
        algorithm: Algorithm,
        *,
        table: Table | None = None,
        slots: Sequence[int] = (),
        notify: Callable[[StateChange], None] | None = None,
    ) -> None:
        if table is None:
            table, slots = _private_table(servers)
        self.servers = tuple(servers)
        self._failures = Failures(table)
        self._outages = Outages(table)
        self.table = table
        self.notify = notify
        self._slots = tuple(slots)
        self._index_at = {slot: place for place, slot in enumerate(self._slots)}
        if len(self._index_at) != len(self.servers):
            raise ValueError(f"{len(self.servers)} servers can't have the slots {self._slots}")
        self._selection = ALGORITHMS[algorithm](table, self._slots)
        self._pick = self._selection.pick

    def __len__(self) -> int:
        return len(self.servers)

    @property
    def alive_count(self) -> int:
        """How many servers are alive, full ones included."""
        return sum(self.table.state(slot) == State.ALIVE for slot in self._slots)

    def state(self, slot: int) -> State:
        """What state a server is in."""
        return State(self.table.state(self._table_slot(slot)))

    @property
    def changes(self) -> int:
        """Another number after every change of a server's state, by whichever process."""
        return self._outages.changes

    def want(self, now: float) -> None:
        """Have servers that are out checked soon: a request waits for one."""
        self._outages.want(now)

    def wanted(self, now: float, within: float) -> bool:
        """Whether any process has called `want` within so many seconds."""
        return self._outages.wanted(now, within)

    def explain(self, slot: int, reason: str, *, ejected: bool = False) -> None:
        """Note why a server is out, for `why_out` and `was_ejected` of all processes."""
        self._outages.explain(self._table_slot(slot), reason.encode(), ejected)

    def was_ejected(self, slot: int) -> bool:
        """Whether a server that is out was taken out for the requests that it failed."""
        return self._outages.ejected(self._table_slot(slot))

    def why_out(self, slot: int) -> str:
        """Why a server is out, as far as it was noted."""
        reason = self._outages.reason(self._table_slot(slot))
        return (
            "for a reason that was not noted" if reason is None else reason.decode(errors="ignore")
        )

    def reserve(self, now: float, tried: tuple[int, ...] = ()) -> Reservation | None:
        """Pick a server and take one of its connection slots.

        Args:
            now: seconds of a monotonic clock, always the same one.
            tried: slots of servers that this request has tried already.

        Returns:
            The reservation, to be entered with `with` at once. None when nobody is eligible:
            alive, below its maximum and not tried.
        """
        picked = self._pick(now, tuple(map(self._table_slot, tried)) if tried else ())
        if picked is None:
            return None
        slot = self._index_at[picked]
        return Reservation(self.table, picked, slot, self.servers[slot])

    def reserve_at(self, slot: int) -> Reservation | None:
        """Take a connection slot of a certain server; None unless it is alive, or if it is full."""
        at = self._table_slot(slot)
        if self.table.state(at) != State.ALIVE or not self.table.acquire(at):
            return None
        return Reservation(self.table, at, slot, self.servers[slot])

    def adopt(self, slot: int) -> Reservation:
        """The reservation of a connection slot that compiled code has taken; like `reserve`."""
        return Reservation(self.table, self._table_slot(slot), slot, self.servers[slot])

    def compiled(self) -> tuple[Table, Selection, tuple[int, ...]]:
        """What compiled code picks from: table, algorithm, and where the servers are in it."""
        return self.table, self._selection, self._slots

    def suspect(
        self,
        slot: int,
        life: int,
        now: float,
        client: int,
        confirmed: bool,
        since: float | None = None,
    ) -> Evidence | None:
        """Note a failure that may be a server's, and say what there is against it by now.

        Args:
            slot: which server.
            life: in which of its lives it was: `Reservation.life`.
            now: seconds, the clock of `reserve`.
            client: number of whose request it was, 1 to 65535.
            confirmed: another server has answered the same request.
            since: when the server was sent the request, if it took all its time.

        Returns:
            None if the server has been taken out and come back since.
        """
        found = self._failures.add(self._table_slot(slot), life, now, client, confirmed, since)
        return None if found is None else Evidence(*found)

    def mark_down(self, slot: int, reason: str, *, keep_last: bool = False) -> bool:
        """Make an alive server dead, until a health check brings it back.

        Args:
            slot: which server.
            reason: for people, passed on with the notice.
            keep_last: leave it if it is the only one alive of this pool. For failures that one
                bad request may cause, such as timeouts; not for a server that refuses connections.

        Returns:
            True for the one caller who did it.
        """
        return self._move(slot, State.ALIVE, State.DEAD, reason, keep_last)

    def mark_up(self, slot: int, reason: str) -> bool:
        """Make a dead server alive; true for the one caller who did it.

        Its response time average and failures in a row are forgotten: whatever mended it has
        made them meaningless.
        """
        return self._move(slot, State.DEAD, State.ALIVE, reason, False)

    def _move(self, slot: int, old: State, new: State, reason: str, keep_last: bool) -> bool:
        among = self._slots if keep_last else None
        if new is State.DEAD and self.state(slot) is State.ALIVE:
            self.explain(slot, reason, ejected=keep_last)  # before anybody sees that it is out
        moved = self.table.move(self._table_slot(slot), old, new, among=among)
        if moved and self.notify is not None:
            server = self.servers[slot]
            self.notify(StateChange(slot=slot, server=server, old=old, new=new, reason=reason))
        return moved

    def _table_slot(self, slot: int) -> int:
        if slot < 0:
            raise IndexError(f"no server {slot}")
        return self._slots[slot]

    def snapshot(self, row: int | None = None) -> tuple[ServerCounters, ...]:
        """The counters of all servers, by slot.

        Args:
            row: count only what that row's worker has done (row 0: the owner and all retired
                workers); by default the sum.
        """
        return tuple(self._counters(slot, row) for slot in range(len(self)))

    def _counters(self, slot: int, row: int | None) -> ServerCounters:
        at = self._slots[slot]
        counters = self.table.read(at, row)
        state, active, served, failed, received, sent, average, weight, most = counters
        return ServerCounters(
            slot=slot,
            state=State(state),
            active=active,
            served=served,
            failed=failed,
            bytes_received=received,
            bytes_sent=sent,
            response_time_s=average,
            p50_s=self.table.quantile(at, 0.5, row),
            p99_s=self.table.quantile(at, 0.99, row),
            weight=weight,
            max_connections=most,
        )


def _private_table(servers: Sequence[ServerPlan]) -> tuple[Table, list[int]]:
    memory = mmap.mmap(-1, table_size(len(servers)))
    format_table(memory, len(servers))
    table = Table(memory)
    return table, [table.add(server.weight, server.max_connections) for server in servers]
