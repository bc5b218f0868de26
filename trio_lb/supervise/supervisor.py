"""The supervisor: it owns the profile, the sockets and the table, and starts all the rest.

    supervisor
    ├─ health checks, one task per server       workers see the results in the table
    ├─ generation: one monitor per worker        old generations drain beside the present one
    └─ reload, on request                       one after the other

It forwards nothing itself.
"""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from trio_lb.config import ProfileError, compile_listeners, compile_plan
from trio_lb.errors import ListenError, TrioLBError
from trio_lb.health import HealthChecker
from trio_lb.http1.choice import codecs_for
from trio_lb.net.deadlines import Deadlines
from trio_lb.net.dial import Dialler
from trio_lb.net.resolver import Resolver
from trio_lb.observe.statistics import Statistics, statistics_of
from trio_lb.observe.units import several
from trio_lb.pool import Counters, NoRoom, ServerPool, SharedTable
from trio_lb.runtime.service import log_change
from trio_lb.upstream.connector import Connector

from .changes import only_members_change
from .generation import Generation
from .limits import worker_count
from .messages import SetMembers
from .monitor import MARGIN, WorkersKeepDying
from .orphans import OrphanReaper
from .reload_status import ReloadStatus
from .slots import ServerSlots

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.config import Profile
    from trio_lb.plan import Plan, PoolPlan
    from trio_lb.pool import Members

    from .notify import Notifier
    from .sockets import ListeningSockets

log = logging.getLogger("trio_lb.supervisor")

#: Generations that drain at the same time; a further reload waits until one of them has ended.
_MOST_DRAINING = 2

#: Seconds that killing workers takes at most, as a rule.
_KILLING = 1.0

#: Seconds that reading a profile and its files may take; a network file system may hang.
READING = 30.0

#: Room in the table beyond what the first profile needs, so that reloads find some.
_SLOTS_PER_SERVER, _LEAST_SLOTS, _MOST_SLOTS = 4, 1024, 65536
_ROWS_PER_WORKER, _LEAST_ROWS = 4, 64


#: Seconds for which workers are waited for that take other servers. One that stands still is
#: replaced before that.
_TAKING = 10.0

_T = TypeVar("_T")


class Supervisor:
    """A load balancer in processes.

    Args:
        profile: the first one.
        load: reads the profile again, for a reload.
        sockets: those that a service manager passed, if any; the others are opened.
        notifier: the way to that manager.
        log_levels: what the command line says about logging.

    Attributes:
        profile: the one in effect.
        up: set when all workers accept clients.
        ended: everything was drained.
        clean: nothing that was in flight has been cut since the drain began.
        reloads: their results, for commands that wait for one.
    """

    def __init__(
        self,
        profile: Profile,
        load: Callable[[], Profile],
        sockets: ListeningSockets,
        notifier: Notifier,
        log_levels: list[tuple[str | None, str]],
    ) -> None:
        self.profile = profile
        self.up = trio.Event()
        self.ended = False
        self.clean = True
        self.reloads = ReloadStatus()
        self._load = load
        self._sockets = sockets
        self._notifier = notifier
        self._log_levels = log_levels
        self._table = SharedTable(
            min(max(_LEAST_SLOTS, _SLOTS_PER_SERVER * len(profile.servers)), _MOST_SLOTS),
            max(_LEAST_ROWS, _ROWS_PER_WORKER * worker_count(profile)),
            epoch=trio.current_time() - time.monotonic(),
        )
        if self._table.problem:
            log.debug("no memfd_create (%s): the table is in a temporary file", self._table.problem)
        self._reaper = OrphanReaper()
        self._deadlines = Deadlines()
        self._resolver = Resolver()
        dial = Dialler(self._resolver, self._deadlines).dial
        codecs = codecs_for(fast_path=profile.fast_path)
        self._checker = HealthChecker(Connector(dial, codecs.server))
        self._nursery: trio.Nursery
        self._slots = ServerSlots(self._table)
        self._plan: Plan
        self._pool: ServerPool
        #: All that have processes: those that drain, the present one, one that is being started.
        self._generations: list[Generation] = []
        self._present: Generation
        self._coming: Generation | None = None
        #: What reads files is abandoned when it hangs, and keeps this until it does not.
        self._reader = trio.CapacityLimiter(1)
        self._stopping = False
        self._preparation = trio.CancelScope()
        self._someone_ended = trio.lowlevel.ParkingLot()
        self._wanted = trio.Event()
        self._started_at = datetime.now(UTC)
        self._started = trio.current_time()

    @property
    def workers(self) -> int:
        """How many workers run the present profile."""
        return len(self._present.monitors)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where clients connect, with real ports."""
        return self._sockets.addresses

    def statistics(self, *, workers: bool = True) -> Statistics:
        """Totals over all workers, those that are gone included, and if wished each of them."""
        generations = [each for each in self._generations if each is not self._coming]
        monitors = [monitor for each in generations for monitor in each.monitors]
        return statistics_of(
            self._pool,
            Counters(self._table.table),
            started_at=self._started_at,
            uptime_s=trio.current_time() - self._started,
            algorithm=self.profile.algorithm,
            workers=[monitor.statistics() for monitor in monitors] if workers else (),
        )

    async def bind(self) -> None:
        """Open the listening sockets: what may need privileges that are dropped before `run`.

        Raises:
            ListenError: an address can't be bound.
        """
        with self._until_stopping():
            listeners = compile_listeners(self.profile)
            await self._sockets.open(listeners, worker_count(self.profile))
            self._sockets.commit({each.address for each in listeners})

    async def run(self) -> None:
        """Serve until drained; `up` is set when all workers accept clients.

        Raises:
            WorkersKeepDying: no worker can be started.
            NoRoom: there are more servers than a table can have.
        """
        failure: TrioLBError | None = None
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._deadlines.watch_forever)
                self._nursery.start_soon(self._resolver.run)
                self._nursery.start_soon(self._watchdog)
                await self._nursery.start(self._checker.run)
                try:
                    with self._until_stopping():
                        await self._bring_up(self.profile, await self._read(self._compile))
                except TrioLBError as exc:
                    failure = exc  # raised below, in no group
                else:
                    if not self._stopping:
                        self._notifier.ready(self._status())
                        self.up.set()
                    self._nursery.start_soon(self._reload_when_wanted)
                    while self._generations or self._coming:
                        await self._someone_ended.park()
                    self.ended = True
                self._nursery.cancel_scope.cancel()
        finally:
            self._sockets.close()
            self._table.close()
        if failure is not None:
            raise failure

    def drain(self) -> None:
        """Finish everything in flight; `run` returns when that is done."""
        self._stopping = True
        self._notifier.stopping(self.profile.timeouts.drain + MARGIN)
        self._preparation.cancel()
        if self._coming is None:
            self._give_way()
        else:
            self._nursery.start_soon(self._give_way_at_the_latest)

    def _give_way(self) -> None:
        """Drain, after workers that are still starting have been killed.

        They hold the sockets too: a client that connected to one of theirs would be reset.
        """
        for generation in self._generations:
            generation.drain()
        self._sockets.close()

    async def _give_way_at_the_latest(self) -> None:
        await trio.sleep(_KILLING)
        self._give_way()

    def _until_stopping(self) -> trio.CancelScope:
        """A scope for bringing a profile into effect, which `drain` cancels."""
        self._preparation = trio.CancelScope()
        if self._stopping:
            self._preparation.cancel()
        return self._preparation

    def reload(self) -> None:
        """Read the profile anew and bring it into effect, soon."""
        self._wanted.set()

    async def _reload_when_wanted(self) -> None:
        while True:
            await self._wanted.wait()
            if self._stopping:
                return
            self._wanted = trio.Event()
            self._notifier.reloading()
            self.reloads.begin()
            self.reloads.end(await self._reload())
            if not self._stopping:
                self._notifier.ready(self._status())

    async def _room_for_generation(self) -> None:
        """Wait until not too many old workers are draining."""
        if len(self._generations) > _MOST_DRAINING:
            log.warning("old workers are still draining: the reload waits for them")
        while len(self._generations) > _MOST_DRAINING:
            await self._someone_ended.park()

    def _status(self) -> str:
        return f"{several(len(self._pool), 'server')} at {', '.join(self.addresses)}"

    async def _watchdog(self) -> None:
        """Feed the service manager's watchdog, and clean up, about once a second."""
        while True:
            if os.getpid() == 1:  # in a container, whoever loses its parent becomes our child
                self._reaper.reap()
            self._notifier.watchdog()
            self._free_slots()
            await trio.sleep(min(1.0, self._notifier.watchdog_interval or 1.0))

    async def _reload(self) -> list[str]:
        """Bring a new profile into effect; if that can't be done, everything stays as it is.

        Returns:
            Why it can't be done; nothing if it was.
        """
        with self._until_stopping():
            return await self._try_reload()
        return ["it is being stopped"]

    async def _try_reload(self) -> list[str]:
        try:
            profile, plan = await self._read(self._load_all)
        except ProfileError as exc:
            for problem in exc.problems:
                log.error("%s", problem)
            log.error("the profile is invalid: nothing was changed")
            return list(map(str, exc.problems))
        except TrioLBError as exc:
            log.error("%s: nothing was changed", exc)
            return [str(exc)]
        in_place = only_members_change(self._plan, plan) and worker_count(profile) == self.workers
        try:
            if in_place:
                await self._change_members(profile, plan)
            else:
                await self._room_for_generation()
                await self._bring_up(profile, plan)
        except (ListenError, NoRoom, WorkersKeepDying) as exc:
            log.error("%s: nothing was changed", exc)
            return [str(exc)]
        servers = several(len(profile.servers), "server")
        log.info("reloaded: %s, %s", servers, profile.algorithm)
        return []

    def _load_all(self) -> tuple[Profile, Plan]:
        profile = self._load()
        return profile, compile_plan(profile)

    def _compile(self) -> Plan:
        return compile_plan(self.profile)

    async def _read(self, read: Callable[[], _T]) -> _T:
        """Read files, beside everything else.

        Raises:
            TrioLBError: what `read` raises, or that it takes too long.
        """
        with trio.move_on_after(READING):
            return await trio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=self._reader)
        raise TrioLBError(
            f"the profile, or a file that it names, could not be read within {READING:g} s"
        )

    async def _change_members(self, profile: Profile, plan: Plan) -> None:
        """Have the workers that run serve from other servers, or by another algorithm.

        Raises:
            NoRoom: nothing is changed.
        """
        (pool,) = plan.pools
        members, new = self._slots.assign(pool.servers)
        servers = self._pool_of(pool, members)
        try:
            await self._checker.first_round(pool.health_check, servers, new)
        except BaseException:
            self._slots.undo(members)
            raise
        self._present.set_members(plan, _message(pool, members))
        self._take_effect(profile, plan, servers)
        with trio.move_on_after(_TAKING) as waiting:
            await self._present.members_taken()
        if waiting.cancelled_caught:
            log.warning("a worker has not taken the new servers within %g s", _TAKING)
        self._free_slots()

    async def _bring_up(self, profile: Profile, plan: Plan) -> None:
        """Open, check and start what a profile needs; then those before it drain.

        Nothing of it has any effect before everything is there: no client meets it, and servers
        that were there before have the weights and maxima that they had.

        Raises:
            ListenError, NoRoom, WorkersKeepDying: nothing of it is left.
        """
        workers = worker_count(profile)
        (pool,) = plan.pools
        members, new = self._slots.assign(pool.servers)
        servers = self._pool_of(pool, members)
        generation = self._coming = Generation(
            plan,
            workers,
            self._table,
            _message(pool, members),
            self._sockets,
            self._log_levels,
            self._reaper,
        )
        try:
            await self._sockets.open(plan.listeners, workers)
            await self._checker.first_round(pool.health_check, servers, new)
            await self._nursery.start(self._run_generation, generation)
            self._sockets.commit({each.address for each in plan.listeners})
        except BaseException:
            generation.drain()
            self._sockets.undo()
            self._slots.undo(members)
            raise
        else:
            generation.accept()
            for each in self._generations:
                if each is not generation:
                    each.drain()
            self._present = generation
            self._take_effect(profile, plan, servers)
        finally:
            self._coming = None
            if self._stopping:
                self._give_way()
            self._free_slots()
            self._someone_ended.unpark_all()

    def _pool_of(self, pool: PoolPlan, members: Members) -> ServerPool:
        servers = ServerPool(members, pool.algorithm, self._table.table)
        servers.notify = partial(log_change, servers)
        return servers

    def _take_effect(self, profile: Profile, plan: Plan, servers: ServerPool) -> None:
        """Make this profile the one in effect."""
        (pool,) = plan.pools
        self._slots.commit(servers.members)
        self._checker.watch(pool.health_check, servers)
        self._resolver.use(server.address for server in pool.servers)
        self.profile, self._plan, self._pool = profile, plan, servers

    async def _run_generation(
        self, generation: Generation, *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Run a generation to its end, and free what only it needed."""
        self._generations.append(generation)
        if self._stopping:  # since the last time that there was something to wait for
            generation.drain()
        try:
            await generation.run(task_status=task_status)
        finally:
            self._generations.remove(generation)
            if self._stopping:
                self.clean = self.clean and generation.clean
            self._free_slots()
            self._someone_ended.unpark_all()

    def _free_slots(self) -> None:
        self._slots.free([monitor for each in self._generations for monitor in each.monitors])


def _message(pool: PoolPlan, members: Members) -> SetMembers:
    return SetMembers(pool.name, members.version, pool.algorithm, pool.servers, members.table_slots)
