"""The workers of one profile: all of them start, serve, and give way together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .messages import InheritedSocket, SetMembers, Start
from .monitor import WorkerMonitor, WorkersKeepDying
from .processes import starter

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.plan import Plan
    from trio_lb.pool import SharedTable

    from .orphans import OrphanReaper
    from .sockets import ListeningSockets


class Generation:
    """The workers that run one profile.

    Args:
        plan: what they do.
        workers: how many they are.
        table: where they count.
        members: of its pool, and where they are in the table.
        sockets: where their clients come from.
        log_levels: what the command line says about logging.
        reaper: of the supervisor.

    Attributes:
        monitors: one for each worker that has not drained.
        clean: all that had drained finished what they had in hand.
    """

    def __init__(
        self,
        plan: Plan,
        workers: int,
        table: SharedTable,
        members: SetMembers,
        sockets: ListeningSockets,
        log_levels: list[tuple[str | None, str]],
        reaper: OrphanReaper,
    ) -> None:
        self.plan = plan
        self._members = members
        self._someone_took = trio.lowlevel.ParkingLot()
        self.clean = True
        self._table = table
        self._sockets = sockets
        self._log_levels = log_levels
        self._workers = workers
        self._starter = starter(reaper)
        self._draining = trio.Event()
        self.monitors = [
            WorkerMonitor(
                number,
                table,
                self._starter,
                self._start_of(number),
                members,
                plan.drain_timeout,
                reaper,
                self._share,
                self._taken,
            )
            for number in range(workers)
        ]

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Start all workers, say so when they could accept clients, and keep them until drained.

        Raises:
            WorkersKeepDying: one of them could not be started; the others are gone as well.
        """
        failure: WorkersKeepDying | None = None

        async def keep(monitor: WorkerMonitor) -> None:
            nonlocal failure
            try:
                self.clean = await monitor.keep() and self.clean
                self.monitors.remove(monitor)
            except WorkersKeepDying as exc:
                failure = exc  # raised below, in no group
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._start_until_draining)
            for monitor in self.monitors:
                nursery.start_soon(keep, monitor)
            for monitor in tuple(self.monitors):
                await monitor.ready.wait()
            task_status.started()
        if failure is not None:
            raise failure

    def accept(self) -> None:
        """Have all workers accept clients; until then nobody knows of them."""
        for monitor in self.monitors:
            monitor.accept()

    def set_members(self, plan: Plan, members: SetMembers) -> None:
        """Have all workers serve from other members, and do what the plan says otherwise."""
        self.plan, self._members = plan, members
        for monitor in self.monitors:
            monitor.set_members(members)

    async def members_taken(self) -> None:
        """Wait until no worker sends requests to who is not among the newest members."""
        while not all(monitor.up_to_date for monitor in self.monitors):
            await self._someone_took.park()

    def _taken(self) -> None:
        self._someone_took.unpark_all()

    async def _start_until_draining(self) -> None:
        try:
            await self._draining.wait()
        finally:
            await self._starter.close()

    def drain(self) -> None:
        """Have all workers finish what they have in hand and end."""
        self._draining.set()
        for monitor in self.monitors:
            monitor.drain()

    def _share(self) -> None:
        """Have those that serve stand in for those that do not: nobody waits in a dead queue."""
        self._taken()
        serving = [monitor for monitor in self.monitors if monitor.serving]
        absent = [monitor.number for monitor in self.monitors if not monitor.serving]
        for place, monitor in enumerate(serving):
            monitor.cover_for(absent[place :: len(serving)])

    def _start_of(self, number: int) -> Callable[[int], tuple[Start, list[int]]]:
        def start(row: int) -> tuple[Start, list[int]]:
            descriptors = [self._table.fd]
            listen = [self._inherited(worker, descriptors) for worker in range(self._workers)]
            message = Start(
                plan=self.plan,
                table=0,
                row=row,
                slots={self._members.pool: self._members.slots},
                number=number,
                listen=listen,
                log_levels=self._log_levels,
            )
            return message, descriptors

        return start

    def _inherited(self, worker: int, descriptors: list[int]) -> list[InheritedSocket]:
        """The sockets of a worker; descriptors that are not there yet are appended."""
        listeners = self.plan.listeners
        addresses = tuple(each.address for each in listeners)
        begin_with_header = self._sockets.with_proxy_header(listeners)
        inherited = []
        for each in self._sockets.of_worker(addresses, worker, self._workers):
            if each.fileno() not in descriptors:
                descriptors.append(each.fileno())
            position = descriptors.index(each.fileno())
            inherited.append(InheritedSocket(position, each.address, each in begin_with_header))
        return inherited
