"""Whose fault a failure is: one client takes no server from the others (RELIABILITY row 36).

On both paths; clients are told apart by where they come from.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import besides_checks, open_balancer, states
from tests.support.client import open_client, request
from tests.support.rig import get

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from tests.support.backend import Exchange, Script
    from tests.support.client import Response
    from trio_lb import LoadBalancer

BREAK = scripts.raw(b"", reset=False)
RESET = scripts.raw(b"", reset=True)
CUT = scripts.cut_body(b"x" * 1000, 100_000, reset=True)
ONE, OTHER, THIRD = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@pytest.fixture(params=[True, False], ids=["fast", "slow"])
def fast_path(request: pytest.FixtureRequest) -> bool:
    """Each of the two paths."""
    on: bool = request.param
    return on


def poisonous(harm: Script) -> Script:
    """Does `harm` to who asks for /poison; answers others, on connections of their own.

    One that is used again and breaks says nothing about its server, and would not be counted.
    """

    async def script(exchange: Exchange) -> None:
        poison = exchange.request.target == "/poison"
        await (harm if poison else scripts.closing())(exchange)

    return besides_checks(script)


@asynccontextmanager
async def at_three(script: Script, **settings: object) -> AsyncIterator[LoadBalancer]:
    async with (
        open_backend(script) as one,
        open_backend(script) as two,
        open_backend(script) as three,
        open_balancer(one.url, two.url, three.url, **settings) as balancer,
    ):
        yield balancer


@pytest.mark.parametrize("harm", [BREAK, RESET, scripts.garbage_head(), CUT])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_row_36_one_client_s_poison_takes_no_server_down(
    method: str, harm: Script, fast_path: bool, autojump_clock: MockClock
) -> None:
    """Thirty in five seconds, some of them at one time, with nobody else there."""
    async with at_three(poisonous(harm), fast_path=fast_path) as balancer:
        url = balancer.addresses[0]
        ended: list[Response] = []

        async def ask() -> None:
            ended.append(await request(url, method, target="/poison", body=b"x"))

        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(ask)
            assert states(balancer) == ["alive"] * 3
            await trio.sleep(0.5)
        if harm is CUT:
            assert not any(response.complete for response in ended)
        else:
            assert [response.status for response in ended] == [502] * 30
        assert (await request(url, source=OTHER)).status == 200


@pytest.mark.parametrize("sources", [[ONE], [ONE, OTHER]])
async def test_row_36_cut_downloads_of_one_client(
    sources: list[str], fast_path: bool, autojump_clock: MockClock
) -> None:
    """Nine at one time: no answer of any server comes in between. Of two clients it is enough."""
    begun = 0
    cut = trio.Event()

    async def script(exchange: Exchange) -> None:
        nonlocal begun
        await exchange.send_head(200, [("Content-Length", "1000000")])
        begun += 1
        await cut.wait()
        await exchange.reset()

    async with (
        at_three(besides_checks(script), fast_path=fast_path) as balancer,
        trio.open_nursery() as nursery,
    ):
        for number in range(9):
            source = sources[number // 3 % len(sources)]
            nursery.start_soon(partial(request, balancer.addresses[0], source=source))
            while begun <= number:  # noqa: ASYNC110 -- so that each server has some of each client
                await trio.sleep(0.01)
        await trio.testing.wait_all_tasks_blocked(0.01)
        cut.set()
        while balancer.statistics().total_active:  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert states(balancer).count("alive") == (3 if sources == [ONE] else 1)


async def test_row_36_two_clients_poison_that_followed_from_server_to_server(
    fast_path: bool, autojump_clock: MockClock
) -> None:
    async with at_three(poisonous(BREAK), fast_path=fast_path) as balancer:
        for _ in range(10):
            for source in (ONE, OTHER, THIRD):
                response = await request(balancer.addresses[0], target="/poison", source=source)
                assert response.status == 502
        assert states(balancer) == ["alive"] * 3


async def test_row_36_a_server_that_fails_several_clients_is_out(
    fast_path: bool, autojump_clock: MockClock
) -> None:
    """With requests that nobody else can be asked, so that only the number of clients tells."""
    async with (
        open_backend(besides_checks(BREAK)) as broken,
        open_backend(besides_checks(scripts.answer())) as good,
        open_balancer(broken.url, good.url, fast_path=fast_path) as balancer,
    ):

        async def ask(source: str) -> list[str]:
            for _ in range(2):  # one of them meets it
                await request(balancer.addresses[0], "POST", body=b"x", source=source)
            return states(balancer)

        for _ in range(10):
            assert await ask(ONE) == ["alive", "alive"]
        assert await ask(OTHER) == ["dead", "alive"]
        (broken_one, _) = balancer.statistics().servers
        assert broken_one.failed == 11


async def test_row_36_a_server_that_fails_where_another_does_not_is_out(
    fast_path: bool, autojump_clock: MockClock
) -> None:
    """One client is enough then: a load test, or all that come through one proxy."""
    async with (
        open_backend(besides_checks(BREAK)) as broken,
        open_backend(besides_checks(scripts.answer())) as good,
        open_balancer(broken.url, good.url, fast_path=fast_path) as balancer,
    ):
        for _ in range(3):
            assert states(balancer) == ["alive", "alive"]
            assert (await request(balancer.addresses[0])).status == 200
        assert states(balancer) == ["dead", "alive"]


async def test_row_36_an_error_elsewhere_clears_the_server(
    fast_path: bool, autojump_clock: MockClock
) -> None:
    """Of two that could not deal with the request, one only said so more politely."""
    async with (
        open_backend(besides_checks(BREAK)) as one,
        open_backend(besides_checks(scripts.answer(b"", 500))) as two,
        open_balancer(one.url, two.url, fast_path=fast_path) as balancer,
    ):
        for _ in range(20):
            assert (await request(balancer.addresses[0])).status == 500
        assert states(balancer) == ["alive", "alive"]


async def test_row_36_a_failure_is_judged_when_another_server_begins_to_answer(
    fast_path: bool, autojump_clock: MockClock
) -> None:
    """And not when the download has ended."""

    async def endless(exchange: Exchange) -> None:
        await exchange.send_head(200, [("Content-Length", "1000000")])
        await trio.sleep_forever()

    async with (
        open_backend(besides_checks(BREAK)) as broken,
        open_backend(besides_checks(endless)) as good,
        open_balancer(broken.url, good.url, fast_path=fast_path) as balancer,
        trio.open_nursery() as nursery,
    ):
        for _ in range(6):
            nursery.start_soon(request, balancer.addresses[0])
        with trio.fail_after(1):
            while states(balancer) != ["dead", "alive"]:  # noqa: ASYNC110
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_row_36_few_failures_among_many_answers(
    fast_path: bool, autojump_clock: MockClock
) -> None:
    """Three in a row do not count for a server that answers hundreds."""
    async with at_three(poisonous(BREAK), fast_path=fast_path) as balancer:
        url = balancer.addresses[0]

        async def answers(count: int) -> None:
            async with open_client(url) as client:
                for _ in range(count):
                    await client.send(get())
                    assert (await client.read_response()).status == 200

        async def poison(times: int) -> None:
            for number in range(3 * times):
                source = (ONE, OTHER, THIRD)[number // 3 % 3]
                await request(url, "POST", target="/poison", body=b"x", source=source)

        await answers(300)  # a hundred of each
        await poison(11)
        assert states(balancer) == ["alive"] * 3
        await answers(3)
        await poison(11)
        assert states(balancer) == ["alive"] * 3
        await poison(1)
        assert states(balancer).count("dead") >= 1


async def test_row_36_a_server_that_falls_silent_is_out_however_busy_it_was(
    fast_path: bool, autojump_clock: MockClock
) -> None:
    hangs = False

    async def script(exchange: Exchange) -> None:
        await (scripts.hang() if hangs else scripts.answer())(exchange)

    async with (
        open_backend(besides_checks(script)) as backend,
        open_backend(besides_checks(scripts.answer())) as other,
        open_balancer(backend.url, other.url, fast_path=fast_path, timeout="1s") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(400):
            await client.send(get())
            assert (await client.read_response()).status == 200
        hangs = True
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(request, balancer.addresses[0])
        assert states(balancer) == ["dead", "alive"]


async def test_row_36_waiting_in_vain_at_a_busy_server_is_no_silence(
    fast_path: bool, autojump_clock: MockClock
) -> None:
    """Requests that hang while others are answered; they are late all at once."""
    async with at_three(poisonous(scripts.hang()), fast_path=fast_path, timeout="1s") as balancer:
        url = balancer.addresses[0]

        async def poison(source: str) -> None:
            response = await request(url, "POST", target="/poison", body=b"x", source=source)
            assert response.status == 504

        async with open_client(url) as client, trio.open_nursery() as nursery:
            for _ in range(300):
                await client.send(get())
                assert (await client.read_response()).status == 200
            for number in range(18):
                nursery.start_soon(poison, (ONE, OTHER, THIRD)[number // 6])
            for _ in range(9):
                await trio.sleep(0.1)
                await client.send(get())
                assert (await client.read_response()).status == 200
        assert states(balancer) == ["alive"] * 3


async def test_row_36_the_last_one_stays(fast_path: bool, autojump_clock: MockClock) -> None:
    """However many clients it fails."""
    async with at_three(besides_checks(BREAK), fast_path=fast_path) as balancer:
        for number in range(30):
            source = (ONE, OTHER)[number // 3 % 2]
            response = await request(balancer.addresses[0], "POST", body=b"x", source=source)
            assert response.status == 502
        assert states(balancer).count("alive") == 1
