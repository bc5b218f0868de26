"""Asking a server whether it is well, again and again.

A check is a request of our own on a connection of its own; it counts as nobody's traffic, and a
server that is full is not asked to be idle. With checks off, a server that was taken out is still
probed, by connecting only: otherwise nothing would ever bring it back.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Never

import trio

from trio_lb.balance import HealthTracker, ServerPool, State
from trio_lb.errors import ConnectFailed

from .probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trio_lb.net.dial import Dial
    from trio_lb.profile import Profile

log = logging.getLogger("trio_lb.health")

#: First checks that may run at the same time.
_AT_ONCE = 64


class HealthChecker:
    """The checks of one pool.

    Args:
        profile: interval, timeout, path, accepted statuses, rise and fall.
        servers: the pool whose states it keeps true.
        dial: how to connect to a server.
        jitter: a number from -1 to 1 for each pause; random in service.
    """

    def __init__(
        self,
        profile: Profile,
        servers: ServerPool,
        dial: Dial,
        jitter: Callable[[], float] = lambda: random.uniform(-1, 1),
    ) -> None:
        self._settings = profile.health_check
        self._servers = servers
        self._probe = Probe(profile, dial)
        self._jitter = jitter
        self._trackers = [
            HealthTracker(self._settings.rise, self._settings.fall) for _ in servers.servers
        ]
        self._first_round = trio.CapacityLimiter(_AT_ONCE)

    async def first_round(self, slots: Iterable[int] | None = None) -> None:
        """Check servers once; when this returns, their states are true.

        One failure is enough here: there is no earlier state to hold on to.

        Args:
            slots: which servers; all of them if None.
        """
        if not self._settings.enabled:
            return
        async with trio.open_nursery() as nursery:
            for slot in range(len(self._servers)) if slots is None else slots:
                nursery.start_soon(self._first_check, slot)

    async def keep_checking(self, slot: int) -> Never:
        """Check one server for ever; one such task for each server."""
        settings = self._settings
        while True:
            await trio.sleep(settings.interval * (1 + settings.jitter * self._jitter()))
            state = self._servers.state(slot)
            if settings.enabled or state is not State.ALIVE:
                try:
                    problem = await self._probe(self._servers.servers[slot])
                except ConnectFailed as exc:
                    self._not_checked(slot, exc)
                else:
                    self._judge(slot, state, problem)

    async def _first_check(self, slot: int) -> None:
        async with self._first_round:
            try:
                problem = await self._probe(self._servers.servers[slot])
            except ConnectFailed as exc:
                self._not_checked(slot, exc)
                return
        if problem is not None:
            self._servers.take_out(slot, f"first health check: {problem}")

    def _not_checked(self, slot: int, exc: ConnectFailed) -> None:
        """We are out of descriptors or memory, which is no server's fault: its state stays."""
        name = self._servers.servers[slot].name
        log.warning("server %s could not be checked: %s", name, exc.reason)

    def _judge(self, slot: int, state: State, problem: str | None) -> None:
        """Take in a result; `state` is the one at its beginning."""
        if self._servers.state(slot) is not state:
            return  # a check that began before the change says nothing about what came after it
        wanted = self._trackers[slot].observe(problem is None, state)
        if wanted is state:
            return
        if wanted is State.ALIVE:
            self._servers.bring_back(slot, "health check passed")
        else:
            self._servers.take_out(slot, f"health check: {problem}")
