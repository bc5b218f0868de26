"""Servers that say nothing, or only slowly (RELIABILITY rows 3, 33 and 34)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks, open_balancer, states
from tests.support.client import open_client, request
from tests.support.fault_proxy import open_fault_proxy
from tests.support.leaks import held, nothing_left
from tests.support.load import Load, Result, executions, p99

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.backend import Exchange, Script

#: Load, which reaches no line that others do not, and takes twice as long where lines are counted.
pytestmark = pytest.mark.no_cover

SERVICE = 0.05  # seconds
WELL = besides_checks(scripts.delayed(SERVICE, scripts.answer(b"ok")))
LATE = 0.2  # what the watch over deadlines may take, with a margin


async def hang_in_the_head(exchange: Exchange) -> None:
    """Begins to answer."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-")
    await scripts.hang()(exchange)


@pytest.mark.parametrize("hang", [scripts.hang(), scripts.hang(reads=False), hang_in_the_head])
async def test_row_3_a_hanging_server_costs_the_others_nothing(
    hang: Script, autojump_clock: MockClock
) -> None:
    """About 1100 GET."""
    async with (
        open_backend(besides_checks(hang)) as hung,
        open_backend(WELL) as one,
        open_backend(WELL) as two,
        open_balancer(hung.url, one.url, two.url, timeout="2s") as balancer,
    ):
        load = Load(balancer.addresses[0], clients=9)
        await load.run(8)  # checks, which find it well, come after 9 s at the earliest
        assert states(balancer) == ["dead", "alive", "alive"]
        assert not load.failures
        assert len(load.results) > 1000
        delayed = [result for result in load.results if result.seconds > 1.2 * SERVICE]
        # All who were there at the beginning may have met it once, and nobody afterwards.
        assert len(delayed) <= 9
        assert max(result.seconds for result in load.results) <= 2 + SERVICE + LATE
        assert max(result.started for result in delayed) <= 2 + LATE
        assert p99(load.since(3)) <= 1.2 * SERVICE
        assert balancer.statistics().servers[0].active == 0


async def test_row_3_who_may_not_be_repeated_gets_504_in_time(autojump_clock: MockClock) -> None:
    async with (
        open_backend(besides_checks(scripts.hang())) as hung,
        open_backend(besides_checks(scripts.hang())) as other,
        open_balancer(hung.url, other.url, timeout="2s") as balancer,
    ):
        start = trio.current_time()
        response = await request(balancer.addresses[0], "POST", body=b"x")
        assert response.status == 504
        assert trio.current_time() - start == pytest.approx(2, abs=LATE)
        start = trio.current_time()
        assert (await request(balancer.addresses[0], "GET")).status == 504  # both were asked
        assert trio.current_time() - start == pytest.approx(4, abs=2 * LATE)
        assert set(executions(hung, other).values()) - {None} <= {1, 2}
        assert [len(asked(hung)), len(asked(other))] in ([2, 1], [1, 2])


async def test_row_3_a_poisonous_request_does_not_take_the_pool_down(
    autojump_clock: MockClock,
) -> None:
    async def script(exchange: Exchange) -> None:
        poison = exchange.request.target == "/poison"
        await (scripts.hang() if poison else scripts.answer())(exchange)

    async with (
        open_backend(besides_checks(script)) as one,
        open_backend(besides_checks(script)) as two,
        open_backend(besides_checks(script)) as three,
        open_balancer(one.url, two.url, three.url, timeout="1s") as balancer,
    ):
        url = balancer.addresses[0]
        for others in (3, 0, 1):  # between two of them
            for _ in range(10):
                assert (await request(url, target="/poison")).status == 504
                for _ in range(others):
                    assert (await request(url)).status == 200
                assert states(balancer) == ["alive"] * 3


async def test_row_3_a_stopped_process_gives_its_sockets_back(autojump_clock: MockClock) -> None:
    """As with SIGSTOP: the kernel still accepts, and nobody reads."""
    with socket.create_server(("127.0.0.1", 0)) as stopped:
        async with (
            open_backend(WELL) as backend,
            open_balancer(
                f"http://127.0.0.1:{stopped.getsockname()[1]}",
                backend.url,
                timeout="2s",
                health_check="off",
            ) as balancer,
        ):
            base = len(held()[1])
            await Load(balancer.addresses[0], clients=20).run(3)
            assert states(balancer)[0] == "dead"
            await trio.sleep(7)
            assert len(held()[1]) <= base


async def test_row_3_a_client_that_leaves_frees_the_server(autojump_clock: MockClock) -> None:
    async with (
        open_backend(besides_checks(scripts.hang())) as hung,
        open_balancer(hung.url, timeout="60s") as balancer,
    ):
        async with open_client(balancer.addresses[0]) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await hung.wait_until(lambda backend: bool(asked(backend)))
            assert balancer.statistics().total_active == 1
        start = trio.current_time()
        await hung.wait_until(lambda backend: not backend.open_connections)
        assert trio.current_time() - start <= 1
        assert balancer.statistics().total_active == 0
        assert states(balancer) == ["alive"]


async def grey_failure(algorithm: str) -> list[Result]:
    """One server of three answers ten times slower than the others; results once that settled."""
    slow = besides_checks(scripts.delayed(10 * SERVICE, scripts.answer()))
    async with (
        open_backend(slow) as grey,
        open_backend(WELL) as one,
        open_backend(WELL) as two,
        open_balancer(grey.url, one.url, two.url, algorithm=algorithm) as balancer,
    ):
        load = Load(balancer.addresses[0], clients=9)
        settled = trio.current_time() + 2
        await load.run(12)
        assert not load.failures
        return load.since(settled)


@pytest.mark.parametrize("algorithm", ["lrt", "wlrt"])
async def test_row_33_response_times_keep_a_grey_failure_out_of_the_p99(
    algorithm: str, autojump_clock: MockClock
) -> None:
    """About 1700 GET."""
    results = await grey_failure(algorithm)
    assert p99(results) <= 2 * SERVICE
    slow = [result for result in results if result.seconds > 2 * SERVICE]
    assert 1 <= len(slow) < len(results) / 100, "it is tried now and then, to see whether it heals"


async def test_row_33_counting_connections_bounds_a_grey_failure(
    autojump_clock: MockClock,
) -> None:
    """Counts alone can't tell slow from busy: it keeps one share of what is in flight.

    That is a tenth of the others' requests, against a third of all under round robin.
    """
    results = await grey_failure("lc")
    slow = [result for result in results if result.seconds > 2 * SERVICE]
    assert len(slow) / len(results) < 0.05
    others = [result for result in results if result.seconds <= 2 * SERVICE]
    assert p99(others) <= 1.2 * SERVICE
    assert len(results) > 2 * len(await grey_failure("rr"))


async def test_row_34_a_network_cut_without_a_word(autojump_clock: MockClock) -> None:
    """Both ways drop everything: no FIN, no RST, no answer."""
    async with (
        open_backend(WELL) as far,
        open_backend(WELL) as near,
        open_fault_proxy(far.url) as network,
        open_balancer(network.url, near.url, timeout="2s") as balancer,
        trio.open_nursery() as nursery,
    ):
        gets = Load(balancer.addresses[0], clients=6, pause=0.2)
        posts = Load(balancer.addresses[0], clients=3, method="POST", body=b"x", pause=0.2)
        nursery.start_soon(gets.run, 30.0)
        nursery.start_soon(posts.run, 30.0)
        await trio.sleep(5)
        network.to_client.drops = network.to_server.drops = True
        cut = trio.current_time()
        await trio.sleep(10)
        assert states(balancer) == ["dead", "alive"]
        network.heal()
        network.cut()  # what was dropped stays lost: those connections never work again
        await trio.sleep(12)
        assert states(balancer) == ["alive", "alive"]
        nursery.cancel_scope.cancel()
    assert not gets.failures
    # Each client loses one while nothing is known, for 2 s, and may lose another one in the moment
    # until three requests have failed.
    assert len(posts.failures) <= 2 * 3
    assert {result.response.status for result in posts.failures} <= {504}
    late = [each for each in (*gets.results, *posts.results) if each.seconds > 1.2 * SERVICE]
    assert max(result.seconds for result in late) <= 2 + SERVICE + LATE
    assert max(result.started for result in late) <= cut + 2 + LATE
    assert {executions(far, near)[result.request_id] for result in posts.results} <= {0, 1}


async def test_row_34_idle_connections_die_within_their_time(autojump_clock: MockClock) -> None:
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        open_fault_proxy(backend.url) as network,
    ):
        with nothing_left():
            async with open_balancer(network.url, health_check="off") as balancer:
                async with trio.open_nursery() as nursery:
                    for _ in range(20):
                        nursery.start_soon(request, balancer.addresses[0])
                assert network.open_connections >= 1
                network.to_client.drops = network.to_server.drops = True
                base = len(held()[1])
                await trio.sleep(6)
                assert len(held()[1]) < base
            network.cut()
            await backend.wait_until(lambda backend: not backend.open_connections)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_row_34_a_cut_during_the_response_ends_the_request(
    method: str, autojump_clock: MockClock
) -> None:
    async with (
        open_backend(besides_checks(scripts.bulk(10_000_000))) as backend,
        open_fault_proxy(backend.url) as network,
        open_balancer(network.url, timeouts={"body": "3s"}, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method.encode())
        await trio.testing.wait_all_tasks_blocked()
        network.to_client.stall()
        start = trio.current_time()
        response = await client.read_response()
        assert not response.complete
        assert trio.current_time() - start <= 3 + LATE
        await trio.sleep(1)
        assert balancer.statistics().total_active == 0
