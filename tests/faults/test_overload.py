"""More requests than the servers may have at a time (RELIABILITY row 15).

In memory and virtual time: what is measured is what trio-lb decides, and not the machine.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.rig import get, open_rig

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from tests.support.backend import Exchange
    from tests.support.client import Response
    from tests.support.rig import Rig

#: Load, which reaches no line that others do not, and takes twice as long where lines are counted.
pytestmark = pytest.mark.no_cover

SERVICE = 0.1  # seconds
SERVERS, EACH = 3, 8  # servers, and max_connections of each
CAPACITY = SERVERS * EACH / SERVICE  # requests per second


@dataclass
class Answered:
    """One request: when it was sent, how long it took (seconds), and what came."""

    started: float
    seconds: float
    response: Response


@dataclass
class Busy:
    """A server that takes `SERVICE` for each request and counts how many it has at a time."""

    now: int = 0
    most: int = 0

    async def __call__(self, exchange: Exchange) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await scripts.delayed(SERVICE, scripts.answer())(exchange)
        self.now -= 1


@dataclass
class OpenLoop:
    """Clients that come at their own pace, whatever became of those before them."""

    rig: Rig
    answered: list[Answered] = field(default_factory=list)

    async def offer(self, seconds: float, pause: Callable[[], float]) -> list[Answered]:
        """Send a request after each pause, for so long; what came of them, when all have ended."""
        before = len(self.answered)
        async with trio.open_nursery() as nursery:
            at = trio.current_time()
            end = at + seconds
            while at < end:
                nursery.start_soon(self.ask)
                at += pause()
                await trio.sleep_until(at)
        return self.answered[before:]

    async def ask(self) -> None:
        started = trio.current_time()
        response = await self.rig.ask(get())
        self.answered.append(Answered(started, trio.current_time() - started, response))


def good(answered: list[Answered]) -> list[Answered]:
    return [each for each in answered if each.response.status == 200]


async def peak(rig: Rig, seconds: float) -> float:
    """The most that the servers can do: as many clients as they may have, none of whom waits."""
    served = 0

    async def client() -> None:
        nonlocal served
        async with rig.client() as connection:
            while trio.current_time() < end:
                await connection.send(get())
                assert (await connection.read_response()).status == 200
                served += 1

    started = trio.current_time()
    end = started + seconds
    async with trio.open_nursery() as nursery:
        for _ in range(SERVERS * EACH):
            nursery.start_soon(client)
    return served / (trio.current_time() - started)


async def test_row_15_twice_as_many_as_can_be_served(autojump_clock: MockClock) -> None:
    """Scale: 2 s (virtual) of 480 requests per second at random, 24 at a time may be served."""
    rng = random.Random(15)
    servers = [Busy() for _ in range(SERVERS)]
    async with open_rig(*servers, max_connections=EACH, algorithm="least_connections") as rig:
        most = await peak(rig, 1)
        assert most > 0.95 * CAPACITY
        normal = await OpenLoop(rig).offer(1, lambda: 2 / CAPACITY)
        assert len(good(normal)) == len(normal)

        overload = await OpenLoop(rig).offer(2, lambda: rng.expovariate(2 * CAPACITY))
        assert len(overload) > 1.8 * CAPACITY * 2
        served = good(overload)
        assert len(served) / 2 >= 0.9 * most
        latency = max(each.seconds for each in normal)
        assert max(each.seconds for each in served) <= 1.5 * latency  # the bar: 5 times
        shed = [each for each in overload if each.response.status != 200]
        assert {each.response.status for each in shed} == {503}
        assert {each.response.header("retry-after") for each in shed} == {"1"}
        assert max(each.seconds for each in shed) <= SERVICE / 100, "it waited for its 503"
        # A client that was sent away may ask again on the same connection.
        assert {each.response.header("connection") for each in shed} == {None}

        after = trio.current_time()
        recovery = await OpenLoop(rig).offer(1, lambda: 2 / CAPACITY)
        failed = [each for each in recovery if each.response.status != 200]
        assert all(each.started - after <= SERVICE for each in failed)
        assert rig.states == ["alive"] * SERVERS, "an overload is no failure"
        assert rig.failed == [0] * SERVERS
    assert [server.most for server in servers] == [EACH] * SERVERS


async def test_row_15_a_lost_server_under_overload(autojump_clock: MockClock) -> None:
    """One of three dies: the other two go on with what they can do. Scale: 1 and 3 s (virtual)."""
    rng = random.Random(16)
    servers = [Busy() for _ in range(SERVERS)]
    async with open_rig(*servers, max_connections=EACH, algorithm="least_connections") as rig:
        load = OpenLoop(rig)
        await load.offer(1, lambda: rng.expovariate(2 * CAPACITY))
        await rig.backends[0].kill()
        overload = await load.offer(3, lambda: rng.expovariate(2 * CAPACITY))
        assert len(good(overload)) / 3 >= 0.9 * CAPACITY * 2 / 3
        assert {each.response.status for each in overload} == {200, 503}
        assert max(each.seconds for each in overload) <= 1.5 * SERVICE
        assert rig.states == ["dead", "alive", "alive"]
    assert [server.most for server in servers] == [EACH] * SERVERS
