"""Whatever the system's uptime is, and whatever passed since: ages, choice, averages, failures.

A clock that has been running for up to 200 days stands for it; at every multiple of 2**31 ms (25
days) something may carry over, or have a sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.backend import open_backend
from tests.support.balancer import CHECK_PATH, besides_checks, open_balancer, states
from tests.support.client import open_client, request
from tests.support.rig import get
from tests.support.tables import table_memory, table_of
from trio_lb.fast.table import Failures, LeastResponseTime, Permits, Table

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.backend import Exchange

DAY = 86_400.0
#: Seconds of uptime at which a count of milliseconds passes a multiple of 2**31, up to 200 days.
BOUNDARIES = [multiple * 2**31 / 1000 for multiple in range(1, 9)]
#: Seconds since something: minutes, and around each boundary.
AGES = [300.0, DAY, *(near + off for near in BOUNDARIES[:4] for off in (-90.0, -0.1, 0.1, 90.0))]
UPTIMES = [1.0, *(near + off for near in BOUNDARIES for off in (-0.05, 0.0, 0.05))]


@pytest.mark.parametrize("age", AGES)
def test_a_server_that_was_slow_once_is_tried_again(age: float) -> None:
    for uptime in UPTIMES:
        table = table_of([1, 1])
        selection = LeastResponseTime(table)
        for slot, seconds in enumerate((1.0, 0.001)):
            table.acquire(slot)
            table.answered(slot, uptime, seconds)
            table.release(slot)
        assert selection.pick(uptime) == 1  # and is not before
        table.release(1)
        table.answered(1, uptime + age, 0.001)
        assert selection.pick(uptime + age) == 0
        assert selection.pick(uptime + age) == 1  # a pick makes its average count fully again


@pytest.mark.parametrize("age", AGES)
def test_an_answer_after_a_long_pause_is_the_average(age: float) -> None:
    for uptime in UPTIMES:
        table = table_of([1])
        table.answered(0, uptime, 1.0)
        table.answered(0, uptime + age, 0.1)
        assert table.read(0)[6] == pytest.approx(0.1)


@pytest.mark.parametrize("uptime", UPTIMES)
def test_an_average_follows_at_any_time(uptime: float) -> None:
    """In small steps over a boundary as elsewhere; of answers of a moment the first one counts."""
    tables = [table_of([1]), table_of([1])]
    for step in range(200):
        for table, start in zip(tables, (uptime, 1000.0), strict=True):
            for seconds in (0.1 + step / 1000, 5.0):
                table.answered(0, start + step / 1000, seconds)
    here, there = (table.read(0)[6] for table in tables)
    assert here == pytest.approx(there, rel=0.02)


@pytest.mark.parametrize("age", AGES)
def test_failures_are_in_a_row_until_an_answer_however_long_ago(age: float) -> None:
    for uptime in UPTIMES:
        memory = table_memory(1, 2)
        tables = [Table(memory, row) for row in range(2)]
        tables[0].add()
        failures = Failures(tables[0])
        tables[1].answered(0, uptime, 0.1)
        failures.add(0, 1, uptime + 1, 1, False)
        found = failures.add(0, 1, uptime + 1 + age, 2, False, uptime + 1)
        assert found is not None
        assert found[0] == 2
        assert found[4]  # no answer since
        tables[1].answered(0, uptime + 2 + age, 0.1)
        later = failures.add(0, 1, uptime + 3 + 2 * age, 1, False, uptime + 3)
        assert later is not None
        assert later[0] == 1


@pytest.mark.parametrize("uptime", UPTIMES)
def test_signs_of_life_and_wants_have_their_age(uptime: float) -> None:
    memory = table_memory(1, 2)
    tables = [Table(memory, row) for row in range(2)]
    tables[1].enter(1, uptime)
    Permits(tables[1]).want(uptime)
    for age in (0.0, 0.25, 60.0, *AGES):
        assert tables[0].heartbeat_age(1, uptime + age) == pytest.approx(age, abs=0.002)
        assert Permits(tables[0]).wanted(uptime + age, 0.5) == (age <= 0.5)


@pytest.mark.parametrize("boundary", [BOUNDARIES[0], BOUNDARIES[1], BOUNDARIES[7]])
async def test_a_balancer_works_across_a_boundary(
    boundary: float, autojump_clock: MockClock
) -> None:
    """Choice, checks, deadlines and averages, from 10 s before it to 20 s after it."""
    slow = True

    async def moody(exchange: Exchange) -> None:
        autojump_clock.jump(0.05 if slow else 0.005)
        await exchange.respond()

    async def quick(exchange: Exchange) -> None:
        autojump_clock.jump(0.005)
        await exchange.respond()

    async def mute(exchange: Exchange) -> None:
        await exchange.receive()

    autojump_clock.jump(boundary - 10 - autojump_clock.current_time())
    async with (
        open_backend(besides_checks(moody)) as first,
        open_backend(besides_checks(quick)) as second,
        open_balancer(
            first.url,
            second.url,
            algorithm="lrt",
            timeout="2s",
            retries=0,
            health_check={"path": CHECK_PATH, "interval": "1s", "fall": 1, "rise": 1},
        ) as balancer,
    ):
        url = balancer.addresses[0]
        while autojump_clock.current_time() < boundary + 20:
            assert (await request(url)).status == 200
            autojump_clock.jump(0.08)
            if autojump_clock.current_time() > boundary - 5:
                slow = False
        checks = [sum(each.target == CHECK_PATH for each in it.requests) for it in (first, second)]
        assert min(checks) >= 15
        assert states(balancer) == ["alive", "alive"]
        averages = [server.response_time_s for server in balancer.statistics().servers]
        assert max(each for each in averages if each is not None) < 0.02
        first.script = second.script = besides_checks(mute)
        async with open_client(url) as client:
            began = autojump_clock.current_time()
            await client.send(get())
            assert (await client.read_response()).status == 504
            assert autojump_clock.current_time() - began == pytest.approx(2, abs=0.5)
