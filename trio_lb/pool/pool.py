"""The servers of a pool: picked, marked down and up, counted."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Self

from trio_lb.fast.table import Failures, Outages, Table, format_table, table_size
from trio_lb.pool.algorithms import ALGORITHMS
from trio_lb.pool.evidence import Evidence
from trio_lb.pool.members import Member, Members
from trio_lb.pool.reservation import Reservation
from trio_lb.pool.state import ServerCounters, State, StateChange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_lb.fast.table import Selection
    from trio_lb.plan import Algorithm, ServerPlan


class ServerPool:
    """Servers under one algorithm, in a table that may have others as well.

    Who they are is an immutable snapshot, `members`, which `set_members` swaps between two
    requests. What is known of each server (state, average, failures) is in the table under its
    slot and stays. Methods that take a member raise IndexError if the table has no such server.

    Args:
        members: its servers.
        algorithm: by which one is picked.
        table: where they are.
        notify: called with every change of a state that was made through this object.

    Attributes:
        members, table: as above.
        notify: as passed in; may be set later.
    """

    def __init__(
        self,
        members: Members,
        algorithm: Algorithm,
        table: Table,
        *,
        notify: Callable[[StateChange], None] | None = None,
    ) -> None:
        self.members = members
        self.table = table
        self.notify = notify
        self._failures = Failures(table)
        self._outages = Outages(table)
        self._select(algorithm)

    @classmethod
    def private(
        cls,
        servers: Sequence[ServerPlan],
        algorithm: Algorithm,
        *,
        notify: Callable[[StateChange], None] | None = None,
    ) -> Self:
        """A pool whose table is this process's alone; all servers are alive."""
        memory = mmap.mmap(-1, table_size(len(servers)))
        format_table(memory, len(servers))
        table = Table(memory)
        slots = [table.add(server.weight, server.max_connections) for server in servers]
        return cls(Members(servers, slots), algorithm, table, notify=notify)

    def set_members(self, members: Members, algorithm: Algorithm) -> None:
        """From the next pick on, have these servers and no others.

        Reservations go on as they are. Turns go on where they were.
        """
        before, self.members = self._selection, members
        self._select(algorithm)
        self._selection.go_on_from(before)

    def _select(self, algorithm: Algorithm) -> None:
        self._selection = ALGORITHMS[algorithm](self.table, self.members.table_slots)
        self._pick = self._selection.pick

    def __len__(self) -> int:
        return len(self.members)

    def has(self, member: Member) -> bool:
        """Whether a server is one of its members, whatever has changed of it."""
        return member in self.members

    @property
    def alive_count(self) -> int:
        """How many servers are alive, full ones included."""
        return sum(self.table.state(slot) == State.ALIVE for slot in self.members.table_slots)

    def state(self, member: Member) -> State:
        """What state a server is in."""
        return State(self.table.state(member.table_slot))

    @property
    def changes(self) -> int:
        """Another number after every change of a server's state, by whichever process."""
        return self._outages.changes

    def want(self, now: float) -> None:
        """Have servers that are down checked soon: a request waits for one."""
        self._outages.want(now)

    def wanted(self, now: float, within: float) -> bool:
        """Whether any process has called `want` within so many seconds."""
        return self._outages.wanted(now, within)

    def explain(self, member: Member, reason: str, *, ejected: bool = False) -> None:
        """Note why a server is down, for `why_out` and `was_ejected` of all processes."""
        self._outages.explain(member.table_slot, reason.encode(), ejected)

    def was_ejected(self, member: Member) -> bool:
        """Whether a server that is down was ejected, for the requests that it failed."""
        return self._outages.ejected(member.table_slot)

    def why_out(self, member: Member) -> str:
        """Why a server is down, as far as it was noted."""
        reason = self._outages.reason(member.table_slot)
        return (
            "for a reason that was not noted" if reason is None else reason.decode(errors="ignore")
        )

    def reserve(self, now: float, tried: Sequence[Member] = ()) -> Reservation | None:
        """Pick a server and take one of its connection slots.

        Args:
            now: seconds of a monotonic clock, always the same one.
            tried: servers that this request has tried already; also such as are no members now.

        Returns:
            The reservation, to be entered with `with` at once. None when nobody is eligible:
            alive, below its maximum and not tried.
        """
        members = self.members
        slots = tuple(each.table_slot for each in tried if each in members) if tried else ()
        picked = self._pick(now, slots)
        return None if picked is None else self.adopt(members.at(picked))

    def reserve_at(self, member: Member) -> Reservation | None:
        """Take a connection slot of a certain server; None unless it is a member, alive and not
        full.
        """
        at = member.table_slot
        if (
            member not in self.members
            or self.table.state(at) != State.ALIVE
            or not self.table.acquire(at)
        ):
            return None
        return self.adopt(self.members.at(at))

    def adopt(self, member: Member) -> Reservation:
        """The reservation of a connection slot that compiled code has taken; like `reserve`.

        It may be that of a server that was a member then.
        """
        return Reservation(self.table, member, self.has)

    @property
    def selection(self) -> Selection:
        """What compiled code picks by."""
        return self._selection

    def suspect(
        self,
        member: Member,
        life: int,
        now: float,
        client: int,
        confirmed: bool,
        since: float | None = None,
    ) -> Evidence | None:
        """Note a failure that may be a server's, and say what there is against it by now.

        Args:
            member: which server.
            life: in which of its lives it was: `Reservation.life`.
            now: seconds, the clock of `reserve`.
            client: number of whose request it was, 1 to 65535.
            confirmed: another server has answered the same request.
            since: when the server was sent the request, if it took all its time.

        Returns:
            None if the server has been down and up again since, or is no member any more.
        """
        if member not in self.members:
            return None
        found = self._failures.add(member.table_slot, life, now, client, confirmed, since)
        return None if found is None else Evidence(*found)

    def mark_down(self, member: Member, reason: str, *, keep_last: bool = False) -> bool:
        """Make an alive server dead, until a health check marks it up.

        Args:
            member: which server; one that is no member any more is left as it is.
            reason: for logs, passed on with the notice.
            keep_last: leave it if it is the only one alive of this pool. For failures that one
                bad request may cause, such as timeouts; not for a server that refuses connections.

        Returns:
            True for the one caller who did it.
        """
        return self._move(member, State.ALIVE, State.DEAD, reason, keep_last)

    def mark_up(self, member: Member, reason: str) -> bool:
        """Make a dead server alive; true for the one caller who did it.

        Its response time average and failures in a row are forgotten: whatever mended it has
        made them meaningless.
        """
        return self._move(member, State.DEAD, State.ALIVE, reason, False)

    def _move(self, member: Member, old: State, new: State, reason: str, keep_last: bool) -> bool:
        if member not in self.members:
            return False
        among = self.members.table_slots if keep_last else None
        if new is State.DEAD and self.state(member) is State.ALIVE:
            self.explain(member, reason, ejected=keep_last)  # before anybody sees that it is down
        moved = self.table.move(member.table_slot, old, new, among=among)
        if moved and self.notify is not None:
            self.notify(StateChange(member=member, old=old, new=new, reason=reason))
        return moved

    def snapshot(self, row: int | None = None) -> tuple[ServerCounters, ...]:
        """The counters of all servers, in their order.

        Args:
            row: count only what that row's worker has done (row 0: the owner and all retired
                workers); by default the sum.
        """
        return tuple(
            self._counters(index, member.table_slot, row)
            for index, member in enumerate(self.members)
        )

    def _counters(self, index: int, at: int, row: int | None) -> ServerCounters:
        counters = self.table.read(at, row)
        state, active, served, failed, received, sent, average, weight, most = counters
        return ServerCounters(
            index=index,
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
