"""A load balancer in the test's own Trio run, over scripted servers.

async with open_backend(besides_checks(scripts.hang())) as backend:
    async with open_balancer(backend.url, timeout="2s") as balancer:
        await request(balancer.addresses[0])
assert len(asked(backend)) == 1
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio_lb
from tests.support.leaks import assert_even
from trio_lb.config import compile_plan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.backend import Backend, Exchange, Request, Script
    from trio_lb.plan import PoolPlan

#: What health checks ask for, so that scripts can tell them from the requests of clients.
CHECK_PATH = "/well"


def profile_of(*servers: object, **settings: object) -> trio_lb.Profile:
    """Returns a profile that was read from text, as every profile is.

    Args:
        servers: their URLs, or mappings.
        settings: the other keys; without `listen`, any free port of 127.0.0.1.
    """
    keys: dict[str, object] = {
        "listen": "http://127.0.0.1:0",
        "servers": servers,
        "health_check": {"path": CHECK_PATH},
    }
    return trio_lb.parse_profile(json.dumps(keys | settings))


def pool_of(*servers: object, **settings: object) -> PoolPlan:
    """Returns the plan of the pool of such a profile."""
    (pool,) = compile_plan(profile_of(*servers, **settings)).pools
    return pool


@asynccontextmanager
async def open_balancer(
    *servers: object, **settings: object
) -> AsyncIterator[trio_lb.LoadBalancer]:
    """Runs a balancer, and checks that it comes out even; for the arguments see `profile_of`."""
    async with trio_lb.open_load_balancer(profile_of(*servers, **settings)) as balancer:
        yield balancer
    assert_even(balancer)


def besides_checks(script: Script) -> Script:
    """Health checks are answered with 200, at once; everything else is left to `script`."""

    async def answer(exchange: Exchange) -> None:
        if exchange.request.target == CHECK_PATH:
            await exchange.respond()
        else:
            await script(exchange)

    return answer


def asked(backend: Backend) -> list[Request]:
    """Returns what clients asked of a server, without health checks."""
    return [request for request in backend.requests if request.target != CHECK_PATH]


def states(balancer: trio_lb.LoadBalancer) -> list[str]:
    """Returns the state of each server, as the statistics show it."""
    return [server.state for server in balancer.statistics().servers]
