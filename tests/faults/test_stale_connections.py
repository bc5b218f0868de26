"""Pooled connections that their server closes (RELIABILITY rows 6 and 7; FEATURES 6.3, trap 13)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks, open_balancer, states
from tests.support.client import open_client, request
from tests.support.load import Load, executions

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.backend import Exchange

pytestmark = pytest.mark.no_cover  # thousands of requests, which reach no other lines


async def test_row_6_get_never_fails_when_a_reused_connection_is_reset() -> None:
    """1000 GET, of which every second one meets the reset."""
    script = besides_checks(scripts.drop_reused(scripts.answer(b"ok")))
    async with (
        open_backend(script) as backend,
        open_balancer(backend.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(1000):
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.read_response()).body == b"ok"
        (server,) = balancer.statistics().servers
        assert (server.served, server.failed, server.state) == (1000, 0, "alive")
        assert len(asked(backend)) > 1400, "the resets were not met"


@pytest.mark.parametrize("body", [b"", b"x" * 100])
async def test_row_6_post_is_executed_at_most_once(body: bytes) -> None:
    """400 POST, of which every second one meets the reset: 502 with the reason, no second try."""
    executed: list[str] = []

    async def execute_then_reset(exchange: Exchange) -> None:
        await exchange.read_body()
        executed.append(exchange.request.header("x-request-id") or "")
        await (exchange.reset() if exchange.index else exchange.respond(b"ok"))

    async with (
        open_backend(besides_checks(execute_then_reset)) as one,
        open_backend(besides_checks(execute_then_reset)) as two,
        open_balancer(one.url, two.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        statuses: list[int] = []
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % len(body)
        for number in range(400):
            await client.send(head + b"X-Request-ID: %d\r\n\r\n" % number + body)
            response = await client.read_response("POST")
            statuses.append(response.status)
            assert response.complete
            assert response.status == 200 or b"the server" in response.body
        assert sorted(executed) == sorted(map(str, range(400)))
        assert set(statuses) == {200, 502}
        assert statuses.count(502) <= 200
        assert states(balancer) == ["alive", "alive"]


async def test_row_7_a_server_with_a_short_keep_alive_time(autojump_clock: MockClock) -> None:
    """It closes after 1 s what is used every 0.9 to 1.1 s, seeded: 500 GET, 500 POST, no error."""
    rng = random.Random(7)
    async with (
        open_backend(besides_checks(scripts.answer(b"ok")), idle_timeout=1.0) as backend,
        open_balancer(backend.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for number in range(1000):
            method = b"POST" if number % 2 else b"GET"
            await client.send(
                b"%b / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nX-Request-ID: %d\r\n\r\nx"
                % (method, number)
            )
            assert (await client.read_response()).body == b"ok"
            await trio.sleep(rng.choice([rng.uniform(0.9, 1.1), 1.0]))
        counted = executions(backend)
        posts = [counted[str(number)] for number in range(1, 1000, 2)]
        assert posts == [1] * 500
        (server,) = balancer.statistics().servers
        assert (server.served, server.failed) == (1000, 0)


async def test_row_7_connections_are_reused_while_they_are_good(autojump_clock: MockClock) -> None:
    async with (
        open_backend(besides_checks(scripts.answer(b"ok")), idle_timeout=5.0) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
    ):
        load = Load(balancer.addresses[0], clients=4, pause=0.3)
        await load.run(30)
        assert len(backend.connections) <= 8
        await trio.sleep(6)
        assert not backend.open_connections


async def test_a_connection_closed_behind_a_last_answer_is_not_used_again() -> None:
    """Without `Connection: close`, as servers do that count their requests."""

    async def answer_and_close(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.respond(b"ok")
        await exchange.close()

    async with (
        open_backend(besides_checks(answer_and_close)) as backend,
        open_balancer(backend.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for method in (b"GET", b"POST") * 50:
            await client.send(b"%b / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % method)
            assert (await client.read_response()).body == b"ok"
        assert len(asked(backend)) == 100


async def test_trap_13_a_large_post_is_not_sent_twice() -> None:
    """Its body is streamed, so there is nothing to send again."""
    script = besides_checks(scripts.drop_reused(scripts.answer(b"ok")))
    async with open_backend(script) as backend, open_balancer(backend.url) as balancer:
        url = balancer.addresses[0]
        for _ in range(20):
            assert (await request(url)).status == 200  # leaves a connection in the pool
            before = len(asked(backend))
            response = await request(url, "PUT", body=b"x" * 1_000_000)
            assert response.status in (200, 502)
            assert response.complete
            assert len(asked(backend)) - before <= 2
            assert sum(each.complete for each in asked(backend)[before:]) <= 1
