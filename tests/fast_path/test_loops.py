"""A request that goes round, from one load balancer to the next and back, comes to an end."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import cast

import pytest
import trio

from tests.fast_path.test_same_outcomes import one, outcome
from tests.support.client import open_client
from tests.support.net import free_port
from tests.support.paths import both_paths
from tests.support.rig import NO_CHECKS, get
from trio_lb.config import Address, Listen, Profile, Server
from trio_lb.http.via import MOST_PASSES, goes_round
from trio_lb.runtime.load_balancer import open_load_balancer

CDN = "1.1 0123456789abcdef0123456789abcdef.cdn.example (CDN), 2 varnish"


async def ask(fast_path: bool, *lines: str) -> tuple[int, int]:
    """The status of the answer, and how many requests reached the server."""
    seen = await outcome(one("", get("/", *lines)), fast_path)
    ((_, status, *_),) = cast("list[tuple[object, int]]", seen["responses"])
    (requests,) = cast("list[list[object]]", seen["requests"])
    return status, len(requests)


@both_paths
@pytest.mark.parametrize("name", ["trio-lb", "Trio-LB"])
async def test_passed_too_often(fast_path: bool, name: str) -> None:
    via = f"Via: {CDN}, " + ",".join([f"1.1 {name} (x), 1.0 {name}"] * (MOST_PASSES // 2))
    assert await ask(fast_path, via) == (508, 0)
    assert await ask(fast_path, *[f"Via: 1.1 {name}"] * MOST_PASSES) == (508, 0)


@both_paths
async def test_a_chain_is_no_loop(fast_path: bool, on_slow_path: list[bytes]) -> None:
    via = f"Via: {CDN}, " + ", ".join(["1.1 trio-lb"] * (MOST_PASSES - 1))
    assert await ask(fast_path, via) == (200, 1)
    assert await ask(fast_path, f"Via: {', '.join([CDN] * 20)}") == (200, 1)
    assert await ask(fast_path, f"Via: {', '.join(['1.1 trio-lb.example'] * 5)}") == (200, 1)
    assert bool(on_slow_path) == (not fast_path)


@pytest.mark.parametrize(
    ("values", "loop"),
    [
        ([b"1.1 trio-lb"] * 10, True),
        ([b"HTTP/1.1\ttrio-lb (a), 1.1 other"] * 10, True),
        ([b"1.1 trio-lb"] * 9, False),
        ([b"1.1 trio-lb.example, 1.1 x-trio-lb, trio-lb, 1.1 other trio-lb"] * 10, False),
        ([b",", b"", b" , "], False),
        ([], False),
    ],
)
async def test_what_counts(values: list[bytes], loop: bool) -> None:
    assert goes_round(values) == loop


@both_paths
async def test_two_that_are_each_others_servers(fast_path: bool) -> None:
    ports = [free_port(), free_port()]
    async with AsyncExitStack() as stack:
        balancers = []
        for here, there in (ports, ports[::-1]):
            profile = Profile(
                listen=(Listen(address=Address(host="127.0.0.1", port=here)),),
                servers=(Server(address=Address(host="127.0.0.1", port=there)),),
                health_check=NO_CHECKS,
                fast_path=fast_path,
            )
            balancers.append(await stack.enter_async_context(open_load_balancer(profile)))
        with trio.fail_after(10):
            async with open_client(balancers[0].addresses[0]) as client:
                await client.send(get())
                response = await client.read_response()
        assert response.status == 508
        assert b"trio-lb" in response.body
        assert sum(each.statistics().requests_total for each in balancers) == MOST_PASSES + 1
