"""An exchange is used for one request after another: nothing of the last one is left in it.

How it ends with a run is looked at in all tests here: see conftest.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client
from tests.support.rig import get, post, post_chunks
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import trio_lb
    from tests.support.backend import Script
    from trio_lb.fast.exchange import ClientSide, Exchange


async def only_client(balancer: trio_lb.LoadBalancer) -> ClientSide:
    """It has no request yet, and shares an exchange with all that have none."""
    taskless = balancer._service._proxy._taskless
    assert taskless is not None
    await eventually(lambda: taskless.idle_before(math.inf))
    [client] = taskless.idle_before(math.inf)
    return client


def spare(balancer: trio_lb.LoadBalancer) -> list[Exchange]:
    """Exchanges that clients have given back."""
    assert balancer._service._plain is not None
    return balancer._service._plain.fast_path.spare


@pytest.mark.parametrize(
    "asked",
    [
        get(),
        get("/", "X-Request-ID: of-the-client"),
        post(b"x" * 10),
        post(b"x" * 300_000),
        post_chunks(b"x" * 10),
        post_chunks(b"x" * 300_000),
        post_chunks(b"x" * 300_000, method="PUT"),
    ],
    ids=["get", "id", "small", "large", "chunk", "chunks", "repeatable"],
)
@pytest.mark.parametrize(
    "script",
    [
        scripts.answer(b"ok"),
        scripts.chunked([b"ok"]),
        scripts.closing(),
        scripts.bulk(3_000_000),
    ],
    ids=["length", "chunked", "close", "bulk"],
)
async def test_between_two_requests(
    asked: bytes, script: Script, on_slow_path: list[bytes]
) -> None:
    async with (
        open_backend(script) as server,
        open_balancer(server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        fresh = (await only_client(balancer)).exchange.memory
        for _ in range(2):
            await client.send(asked)
            assert (await client.read_response()).status == 200
            assert [exchange.memory for exchange in spare(balancer)] == [fresh]
        assert not on_slow_path


async def test_a_standstill_between_two_requests() -> None:
    """No time of a request is moved where there is none."""
    async with (
        open_backend(scripts.answer()) as server,
        open_balancer(server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        side = await only_client(balancer)
        fresh = side.exchange.memory
        await client.send(get())
        await client.read_response()
        balancer._service._plain.readiness._shift(1.0)  # type: ignore[union-attr]
        assert side.exchange.memory == fresh
        assert [exchange.memory for exchange in spare(balancer)] == [fresh]


async def test_in_the_middle_of_one() -> None:
    """Something is seen of it there."""
    async with (
        open_backend(scripts.answer()) as server,
        open_balancer(server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        side = await only_client(balancer)
        fresh = side.exchange.memory
        await client.send(post(b"x" * 10)[:-3])
        await eventually(lambda: side.exchange.memory != fresh)
