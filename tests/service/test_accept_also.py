"""A worker that accepts from other workers' sockets, as it is told from one moment to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import profile_of
from tests.support.client import request
from trio_lb.config import compile_plan
from trio_lb.net.listen import open_listeners
from trio_lb.pool import ServerPool
from trio_lb.runtime.service import open_service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_lb.net.listen import Listener


@pytest.mark.parametrize("waits", [True, False])
async def test_it_may_be_told_to_stop_and_to_go_on_at_once(waits: bool) -> None:
    """The first task may not have ended when the next one begins."""
    async with open_backend(scripts.answer()) as backend:
        plan = compile_plan(profile_of(backend.url, health_check="off"))
        (pool,) = plan.pools
        servers = ServerPool.private(pool.servers, pool.algorithm)
        own = await open_listeners(plan.listeners)
        spare = await open_listeners(plan.listeners)
        orders: list[Sequence[Listener]] = [spare, (), spare, (), spare]
        async with (
            open_service(plan, own, servers.table, servers, spare) as service,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(service.accept)
            for order in orders:
                service.accept_also(order)
                if waits:
                    await wait_all_tasks_blocked()
            await wait_all_tasks_blocked()
            for listener in (*own, *spare):
                assert (await request(listener.address.url)).status == 200
            nursery.cancel_scope.cancel()
