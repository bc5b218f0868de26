"""The embedded load balancer: forwarding and health checks in one process.

For Trio programs that embed it. Workers run the same service without the checks.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio

from trio_lb.config import Profile, compile_plan, load_profile
from trio_lb.health import HealthChecker
from trio_lb.net.listen import open_listeners
from trio_lb.net.nurseries import open_bare_nursery
from trio_lb.observe.statistics import Statistics, statistics_of
from trio_lb.pool import ServerPool
from trio_lb.runtime.service import Service, open_service
from trio_lb.upstream.connector import Connector

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator


class LoadBalancer:
    """A load balancer at work; made by `open_load_balancer`."""

    def __init__(self, profile: Profile, service: Service) -> None:
        self._profile = profile
        self._service = service
        self._started_at = datetime.now(UTC)
        self._started = trio.current_time()

    def __repr__(self) -> str:
        clients = self._service.counters.connections
        return f"<LoadBalancer {', '.join(self.addresses)} {clients} clients>"

    @property
    def profile(self) -> Profile:
        """What it does."""
        return self._profile

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, with the ports that the system chose where the profile says 0."""
        return tuple(listener.address.url for listener in self._service.listeners)

    def statistics(self) -> Statistics:
        """What it knows about its servers and its traffic, at this moment."""
        return statistics_of(
            self._service.servers,
            self._service.counters,
            started_at=self._started_at,
            uptime_s=trio.current_time() - self._started,
            algorithm=self.profile.algorithm,
        )

    async def drain(self) -> bool:
        """Stop accepting, finish what is in flight, and come back when that is done.

        Clients that are already in a listening queue are still served. Answers get
        `Connection: close`, idle connections are closed.

        It may be called at any time, and several times at once.

        Returns:
            True if everything ended by itself; False if the profile's drain time was over, or the
            block was left, before that, and what was left has been cut.
        """
        return await self._service.drain()


@asynccontextmanager
async def open_load_balancer(
    profile: Profile | str | os.PathLike[str],
) -> AsyncIterator[LoadBalancer]:
    """Run a load balancer inside a Trio program for as long as the block lasts.

    When the block begins, all addresses are bound, every server was checked once, and clients are
    accepted. Leaving the block, by its end, an exception or cancellation, ends everything at once;
    call `LoadBalancer.drain` before, to let requests finish.

    Args:
        profile: what to do, or the path of a file that says so.

    Raises:
        ProfileError: the file is unreadable or wrong.
        ListenError: an address can't be bound.
    """
    if not isinstance(profile, Profile):
        profile = load_profile(profile)
    plan = compile_plan(profile)
    (pool,) = plan.pools
    listeners = await open_listeners(plan.listeners)
    servers = ServerPool.private(pool.servers, pool.algorithm)
    async with (
        open_service(plan, listeners, servers.table, servers) as service,
        open_bare_nursery() as nursery,
    ):
        checker = HealthChecker(Connector(service.dial, service.codecs.server))
        await checker.first_round(pool.health_check, servers)
        await nursery.start(checker.run)
        checker.watch(pool.health_check, servers)
        await nursery.start(service.accept)
        try:
            yield LoadBalancer(profile, service)
        finally:
            nursery.cancel_scope.cancel()
