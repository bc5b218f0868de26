"""Health checks of all servers, again and again.

Servers that another process marked down are found in the shared table; while no server is alive
and a request waits, those that are down are checked right away (`pool.ServerPool.want`).
"""

from __future__ import annotations

import logging
import math
import random
from typing import TYPE_CHECKING, TypeAlias

import trio

from trio_lb.errors import ConnectFailed, HostLimit
from trio_lb.net.host_limits import tell
from trio_lb.pool import HealthTracker, Member, ServerPool, State

from .probe import Probe
from .schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trio_lb.plan import Address, HealthCheckPlan
    from trio_lb.upstream.connector import Connector

    #: All that the check of a server depends on.
    _Settings: TypeAlias = tuple[HealthCheckPlan, Address, str | None]

log = logging.getLogger("trio_lb.health")

#: First checks that may run at the same time, and checks begun in a second where all are due.
_AT_ONCE = 64
_A_SECOND = 500.0

#: Seconds between two looks at the table.
_LOOK = 0.1

#: Where requests wait: seconds from one check of a server to the next, and servers for one look.
_WANTED_PAUSE = 0.2
_WANTED = 16


class _Watched:
    """A server that is checked, over all profiles that have it."""

    def __init__(self, member: Member, probe: Probe, settings: _Settings) -> None:
        self.member = member
        self.probe = probe
        self.settings = settings
        self.tracker: HealthTracker
        self.schedule = Schedule(settings[0].interval)
        self.state = State.ALIVE  # when it was looked at last
        self.due = math.inf
        self.checked_at = self.held_until = -math.inf
        self.busy = False
        self.task = trio.CancelScope()
        self.pause = trio.CancelScope()

    def bring_forward(self, due: float) -> None:
        """Check it then, unless that is to be sooner."""
        self.due = min(self.due, due)
        self.pause.deadline = self.due


class HealthChecker:
    """The checks of one process; a reload changes whom they are of.

    Args:
        connector: opens streams to servers.
        jitter: a number from -1 to 1 for each interval; random in service.
    """

    def __init__(
        self,
        connector: Connector,
        jitter: Callable[[], float] = lambda: random.uniform(-1, 1),
    ) -> None:
        self._connector = connector
        self._jitter = jitter
        self._settings: HealthCheckPlan
        self._servers: ServerPool
        self._probe: Probe
        self._watched: dict[str, _Watched] = {}  # by the addresses of servers
        self._just_checked: set[str] = set()
        self._limit = trio.CapacityLimiter(_AT_ONCE)
        self._nursery: trio.Nursery

    async def first_round(
        self,
        check: HealthCheckPlan,
        servers: ServerPool,
        members: Iterable[Member] | None = None,
    ) -> None:
        """Check servers once; when this returns, their states are true.

        One failure is enough here: there is no earlier state to hold on to.

        Args:
            check: how they are checked.
            servers: the pool whose states are kept true.
            members: which servers of it; all of them if None.
        """
        self._just_checked.clear()
        if not check.enabled:
            return
        probe = Probe(check, self._connector)
        async with trio.open_nursery() as nursery:
            for member in servers.members if members is None else members:
                nursery.start_soon(self._first_check, probe, servers, member)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Check whoever is to be watched, until cancelled; one task for each server."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            seen: int | None = None
            while True:
                await trio.sleep(_LOOK)
                if self._watched:
                    seen = self._look(seen)

    def watch(self, check: HealthCheckPlan, servers: ServerPool) -> None:
        """From now on check these servers, in this way, and no others; `run` must be running.

        What was found out about those that were watched before, and when they are due, stays. Who
        is checked in another way now, or was never checked, is checked at once.
        """
        self._settings, self._servers = check, servers
        self._probe = Probe(check, self._connector)
        before, self._watched = self._watched, {}
        for index, member in enumerate(servers.members):
            server = member.server
            url = server.address.url
            settings = (check, server.address, server.send_proxy)
            watched = before.pop(url, None)
            state = servers.state(member)
            if watched is None or watched.settings != settings:
                watched = self._begin(
                    watched, index, member, settings, known=url in self._just_checked
                )
            watched.member, watched.state = member, state
            self._watched[url] = watched
        self._just_checked.clear()
        for watched in before.values():
            watched.task.cancel()

    def _begin(
        self,
        before: _Watched | None,
        index: int,
        member: Member,
        settings: _Settings,
        *,
        known: bool,
    ) -> _Watched:
        """Start the checks of a server that is new, or is checked in another way than before."""
        watched = _Watched(member, self._probe, settings)
        watched.tracker = HealthTracker(settings[0].rise, settings[0].fall)
        if before is not None:
            before.task.cancel()
            watched.tracker.go_on_from(before.tracker)
        now = trio.current_time()
        if not known:
            watched.due = self._soon(index)
        elif self._servers.state(member) is State.DEAD:
            watched.due = now + watched.schedule.went_out(now, checked=True)
        else:
            watched.due = now + self._interval()
        self._nursery.start_soon(self._keep_checking, watched)
        return watched

    def _soon(self, index: int) -> float:
        """At once, but not thousands at the same time."""
        return trio.current_time() + min(index / _A_SECOND, self._settings.interval)

    def _interval(self) -> float:
        settings = self._settings
        return settings.interval * (1 + settings.jitter * self._jitter())

    def _look(self, seen: int | None) -> int:
        """Have those checked at once that others have taken out, or that are waited for."""
        changes, now = self._servers.changes, trio.current_time()
        if changes != seen:
            for watched in self._watched.values():
                before, watched.state = watched.state, self._servers.state(watched.member)
                if watched.state is State.DEAD and before is not State.DEAD and not watched.busy:
                    watched.bring_forward(now + self._went_out(watched, now))
        if self._servers.wanted(now, 2 * _LOOK) and not self._servers.alive_count:
            ready = [
                watched
                for watched in self._watched.values()
                if not watched.busy and watched.checked_at <= now - _WANTED_PAUSE
            ]
            for watched in sorted(ready, key=lambda each: each.checked_at)[:_WANTED]:
                watched.bring_forward(now)
        return changes

    async def _first_check(self, probe: Probe, servers: ServerPool, member: Member) -> None:
        server = member.server
        async with self._limit:
            try:
                problem = await probe(server)
            except ConnectFailed as exc:
                _not_checked(server.name, exc)
                return
        self._just_checked.add(server.address.url)
        if problem is not None:
            servers.mark_down(member, f"first health check: {problem}")

    async def _keep_checking(self, watched: _Watched) -> None:
        with watched.task:
            while True:
                with trio.CancelScope(deadline=watched.due) as watched.pause:
                    await trio.sleep_forever()
                watched.due = math.inf
                state = self._servers.state(watched.member)
                if self._settings.enabled or state is not State.ALIVE:
                    watched.busy = True
                    try:
                        await self._check(watched, state)
                    finally:
                        watched.busy = False
                else:
                    watched.due = trio.current_time() + self._interval()

    async def _check(self, watched: _Watched, state: State) -> None:
        """Check a server, take the result in, and say when it is due again.

        Args:
            watched: the server.
            state: what it is in now.
        """
        problem: str | None = None
        judged = True
        try:
            problem = await watched.probe(watched.member.server)
        except ConnectFailed as exc:
            judged = False
            _not_checked(watched.member.server.name, exc)
        now = watched.checked_at = trio.current_time()
        schedule = watched.schedule
        found = self._servers.state(watched.member)
        if found is not state:  # a check from before a change says nothing about what came after it
            left = found is State.DEAD
            pause = self._went_out(watched, now) if left else self._interval()
        elif judged and problem is None and self._is_held(watched, state, now):
            pause = watched.held_until - now
        else:
            if judged:
                self._judge(watched, state, problem)
            found = self._servers.state(watched.member)
            if found is not State.DEAD:
                if state is State.DEAD:
                    schedule.came_back(now)
                pause = self._interval()
            elif state is State.DEAD:
                pause = schedule.still_out()
            else:
                pause = schedule.went_out(now, checked=True)
        watched.state = found
        watched.due = now + pause

    def _went_out(self, watched: _Watched, now: float) -> float:
        """A server was taken out by traffic: seconds until it is checked."""
        if self._servers.was_ejected(watched.member):
            watched.held_until = now + self._settings.interval
        return watched.schedule.went_out(now, checked=False)

    def _is_held(self, watched: _Watched, state: State, now: float) -> bool:
        """Whether it stays out although its check has passed.

        It had failed requests while its checks passed; these say nothing for an interval, unless
        one fails meanwhile or nobody else is left.
        """
        held = state is State.DEAD and now < watched.held_until
        return held and self._servers.alive_count > 0

    def _judge(self, watched: _Watched, state: State, problem: str | None) -> None:
        """Take in the result of a check."""
        if problem is not None:
            watched.held_until = -math.inf
        wanted = watched.tracker.observe(problem is None, state)
        if wanted is State.ALIVE and state is State.DEAD:
            self._servers.mark_up(watched.member, "health check passed")
        elif wanted is State.DEAD and state is State.ALIVE:
            self._servers.mark_down(watched.member, f"health check: {problem}")
        elif state is State.DEAD and problem is not None:
            self._servers.explain(watched.member, f"health check: {problem}")


def _not_checked(name: str, exc: ConnectFailed) -> None:
    """It is not known to be the server's fault: its state stays."""
    if isinstance(exc, HostLimit):
        tell(exc)
        return
    log.warning("server %s could not be checked: %s", name, exc.reason)
