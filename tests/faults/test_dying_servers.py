"""Servers that die under load, refuse, or can't be reached (RELIABILITY rows 1, 4 and 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import CHECK_PATH, asked, besides_checks, open_balancer, states
from tests.support.client import open_client, request
from tests.support.leaks import nothing_left
from tests.support.load import Load, executions, p99
from tests.support.net import black_hole, free_port, http_url

if TYPE_CHECKING:
    from trio.testing import MockClock

#: Load, which reaches no line that others do not, and takes twice as long where lines are counted.
pytestmark = pytest.mark.no_cover

SERVICE = 0.05  # seconds
LATE = 0.11  # a tick of the watch over deadlines, with a margin
WELL = besides_checks(scripts.delayed(SERVICE, scripts.answer(b"ok")))


@pytest.mark.parametrize("abrupt", [True, False])
@pytest.mark.parametrize("algorithm", ["rr", "lc", "lrt"])
async def test_row_1_one_of_three_dies_under_load(
    abrupt: bool, algorithm: str, autojump_clock: MockClock
) -> None:
    """About 600 GET and 600 POST."""
    async with (
        open_backend(WELL) as one,
        open_backend(WELL) as two,
        open_backend(WELL) as three,
        open_balancer(
            one.url,
            two.url,
            three.url,
            algorithm=algorithm,
            health_check={"path": CHECK_PATH, "interval": "1s"},
        ) as balancer,
        trio.open_nursery() as nursery,
    ):
        gets = Load(balancer.addresses[0], clients=6)
        posts = Load(balancer.addresses[0], clients=6, method="POST", body=b"x")
        nursery.start_soon(gets.run, 5.0)
        nursery.start_soon(posts.run, 5.0)
        await trio.sleep(1.51)
        in_flight = balancer.statistics().servers[0].active
        assert in_flight >= 2
        await (one.kill() if abrupt else one.stop())
        killed = trio.current_time()
        await trio.sleep(1)
        assert states(balancer) == ["dead", "alive", "alive"]
        await one.start()
        before = len(asked(one))
        await trio.sleep(2.5)
        nursery.cancel_scope.cancel()
    assert states(balancer) == ["alive"] * 3
    assert len(asked(one)) > before, "it gets nothing after its return"
    assert len(gets.results) >= 400
    assert len(posts.results) >= 400
    assert not gets.failures
    assert len(posts.failures) <= in_flight
    assert {result.response.status for result in posts.failures} <= {502}
    counted = executions(one, two, three)
    assert {counted[result.request_id] for result in posts.results} == {1}
    for load in (gets, posts):
        assert p99(load.since(killed + 0.5)) <= 1.2 * SERVICE
        assert max(result.seconds for result in load.results) <= 3 * SERVICE


@pytest.mark.parametrize("body", [b"", b"x" * 1000, b"x" * 1_000_000])
async def test_row_4_a_refused_request_goes_to_another_at_once(
    body: bytes, autojump_clock: MockClock
) -> None:
    """Also POST, also with a body that is streamed: nothing was sent yet."""
    gone = http_url("127.0.0.1", free_port())
    async with open_backend(scripts.answer(b"ok")) as backend:
        for _ in range(10):
            async with open_balancer(gone, backend.url, health_check="off") as balancer:
                start = trio.current_time()
                response = await request(balancer.addresses[0], "POST", body=body)
                assert trio.current_time() - start < LATE
                assert response.status == 200
                assert states(balancer) == ["dead", "alive"]
                assert [server.failed for server in balancer.statistics().servers] == [1, 0]
    assert [each.body_size for each in backend.requests] == [len(body)] * 10


async def test_row_4_with_all_gone_the_503_is_there_soon(autojump_clock: MockClock) -> None:
    urls = [http_url("127.0.0.1", free_port()) for _ in range(3)]
    async with open_balancer(*urls, health_check="off") as balancer:
        # The first one waits for a restart as long as for a connection, later ones for a check.
        for longest in (2.0, 0.3):
            start = trio.current_time()
            response = await request(balancer.addresses[0])
            assert trio.current_time() - start < longest + LATE
            assert response.status == 503
            assert response.header("retry-after") == "1"
        assert states(balancer) == ["dead"] * 3


async def test_row_5_no_connection_in_time(autojump_clock: MockClock) -> None:
    with black_hole() as hole:
        async with (
            open_backend(scripts.answer(b"ok")) as backend,
            open_balancer(
                hole, backend.url, health_check="off", timeouts={"connect": "1s"}
            ) as balancer,
        ):
            url = balancer.addresses[0]
            start = trio.current_time()
            assert (await request(url, "POST", body=b"x")).status == 200
            assert trio.current_time() - start == pytest.approx(1, abs=LATE)
            start = trio.current_time()
            for _ in range(10):
                assert (await request(url)).status == 200
            assert trio.current_time() == start
            assert states(balancer) == ["dead", "alive"]


async def test_row_5_nobody_waits_longer_than_all_tries(autojump_clock: MockClock) -> None:
    with (
        black_hole() as one,
        black_hole() as two,
        black_hole() as three,
        black_hole() as four,
        nothing_left(),
    ):
        async with open_balancer(
            one, two, three, four, health_check="off", timeouts={"connect": "1s"}
        ) as balancer:
            start = trio.current_time()
            response = await request(balancer.addresses[0])
            assert (response.status, response.complete) == (504, True)
            assert trio.current_time() - start == pytest.approx(3, abs=LATE)
            assert (await request(balancer.addresses[0])).status == 503  # the fourth, and none
            assert balancer.statistics().total_active == 0


async def test_row_5_a_client_that_leaves_meanwhile_leaves_nothing(
    autojump_clock: MockClock,
) -> None:
    with black_hole() as hole:
        async with open_balancer(hole, health_check="off", timeouts={"connect": "10s"}) as balancer:
            async with open_client(balancer.addresses[0]) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await trio.sleep(1)
                assert balancer.statistics().total_active == 1
            await trio.sleep(10)
            assert balancer.statistics().total_active == 0
            assert states(balancer) == ["dead"]
