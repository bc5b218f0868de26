"""Servers that are down: when they are checked again, over reloads, and for requests that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer, pool_of
from tests.support.client import open_client
from tests.support.paths import both_paths
from tests.support.rig import get
from tests.unit.health.test_checker import checking
from trio_lb.errors import ConnectFailed
from trio_lb.health import HealthChecker
from trio_lb.http1.compiled_codec import CODECS
from trio_lb.pool import ServerPool, State
from trio_lb.upstream.connector import Connector

if TYPE_CHECKING:
    import pytest
    from trio.testing import MockClock

    from trio_lb.net.transport import Transport
    from trio_lb.plan import Address, PoolPlan


async def times_of_checks(duration: float, *plans: PoolPlan, every: float = 3.0) -> list[float]:
    """When a server that refuses is checked, with a reload every so often."""
    times: list[float] = []
    start = trio.current_time()

    async def refuse(address: Address, seconds: float, *_: object) -> Transport:
        times.append(round(trio.current_time() - start, 2))
        raise ConnectFailed("refused")

    pool = ServerPool.private(plans[0].servers, plans[0].algorithm)
    checker = HealthChecker(Connector(refuse, CODECS.server), lambda: 0.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(checker.run)
        checker.watch(plans[0].health_check, pool)
        with trio.move_on_after(duration):
            for plan in plans[1:]:
                await trio.sleep(every)
                checker.watch(plan.health_check, pool)
            await trio.sleep_forever()
        nursery.cancel_scope.cancel()
    return times


async def test_who_is_out_is_asked_soon_and_then_less_often(autojump_clock: MockClock) -> None:
    pool = pool_of("http://127.0.0.1:1", health_check={"interval": "10s"})
    times = await times_of_checks(30, pool)
    assert times == [0, 0.2, 0.7, 1.7, 3.7, 8.7, 18.7, 28.7]


async def test_who_is_taken_out_by_traffic_is_checked_at_once(autojump_clock: MockClock) -> None:
    async with open_backend(scripts.answer()) as backend, checking(backend.url) as checked:
        await trio.sleep(1)
        checked.pool.mark_down(checked.server, "refused")
        assert checked.pool.why_out(checked.server) == "refused"
        await trio.sleep(0.11)
        assert checked.pool.state(checked.server) is State.ALIVE


async def test_passing_checks_and_failing_requests_come_back_less_and_less_often(
    autojump_clock: MockClock,
) -> None:
    async with open_backend(scripts.answer()) as backend, checking(backend.url) as checked:
        for _ in range(600):
            await trio.sleep(0.1)
            checked.pool.mark_down(checked.server, "no answer")
        returns = sum(change.new is State.ALIVE for _, change in checked.changes)
        assert 6 <= returns <= 12


async def test_reloads_do_not_put_checks_off(autojump_clock: MockClock) -> None:
    pool = pool_of("http://127.0.0.1:1", health_check={"interval": "5s", "fall": 1000})
    times = await times_of_checks(24, *[pool] * 8)
    assert times == [0, 5, 10, 15, 20]


async def test_another_check_is_made_at_once(autojump_clock: MockClock) -> None:
    one, two = (
        pool_of("http://127.0.0.1:1", health_check={"path": path, "fall": 1000})
        for path in ("/a", "/b")
    )
    assert await times_of_checks(20, one, two) == [0, 3, 13]


async def test_counts_go_on_over_a_reload(autojump_clock: MockClock) -> None:
    one, two = (
        pool_of("http://127.0.0.1:1", health_check={"path": path, "fall": 3, "interval": "5s"})
        for path in ("/a", "/b")
    )
    # The third failure, at 8, marks it down: the next check comes after 0.2 s.
    assert (await times_of_checks(9, one, two))[:4] == [0, 3, 8, 8.2]


@both_paths
async def test_a_restart_within_a_second_costs_the_only_server_no_request(fast_path: bool) -> None:
    async with (
        open_backend(scripts.answer(b"hello")) as backend,
        open_balancer(backend.url, fast_path=fast_path) as balancer,
    ):
        await backend.kill()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def restart() -> None:
                await trio.sleep(0.6)
                await backend.start()

            for _ in range(3):
                async with open_client(balancer.addresses[0]) as client:
                    await client.send(get())
                    assert (await client.read_response()).status == 200


@both_paths
async def test_who_is_out_and_why_is_told(
    fast_path: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        open_backend(scripts.answer(b"", 503)) as backend,
        open_balancer(backend.url, fast_path=fast_path, timeouts={"connect": "300ms"}) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get("/", "X-Request-ID: abc"))
        assert (await client.read_response()).status == 503
    [line] = [text for text in caplog.messages if text.startswith("no server is available")]
    assert line.startswith(f"no server is available for request abc: {backend.url} is dead, ")
    assert "GET /well answered 503" in line
