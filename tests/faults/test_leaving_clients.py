"""Clients that go away at any moment (RELIABILITY row 12)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import besides_checks, open_balancer, states
from tests.support.client import open_client, request
from tests.support.leaks import held, held_at_first

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.backend import Exchange, Script

ABORTS = 1500
BODY = b"".join(b"%07d\n" % number for number in range(2000))

UPLOADS = [
    b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /%%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    b"POST /%%b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%b%b0\r\n\r\n"
    % (scripts.chunk(BODY), scripts.chunk(BODY)),
    b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
]


async def echo(exchange: Exchange) -> None:
    """Like `scripts.echo`, but not answering before it has asked for the body."""
    data = await exchange.receive()
    await exchange.send_head(200, [scripts.CHUNKED])
    while data:
        await exchange.send(scripts.chunk(data))
        data = await exchange.receive()
    await exchange.send(scripts.chunk(b""))


ANSWERS: dict[str, Script] = {
    "quick": scripts.answer(b"quick"),
    "slow": scripts.delayed(1, scripts.answer(b"slow")),
    "large": scripts.bulk(400_000),
    "chunked": scripts.chunked([BODY] * 20),
    "unframed": scripts.until_close(BODY * 5),
    "echo": echo,
}


async def by_target(exchange: Exchange) -> None:
    await ANSWERS.get(exchange.request.target[1:], ANSWERS["quick"])(exchange)


async def abort_somewhere(url: str, rng: random.Random) -> None:
    """One client: sends up to somewhere, reads up to somewhere, waits perhaps, and is gone."""
    message = rng.choice(UPLOADS) % rng.choice(sorted(ANSWERS)).encode()
    sent = rng.choice([len(message), rng.randrange(1, len(message))])
    async with open_client(url) as client:
        try:
            with trio.move_on_after(2):
                await client.send(message[:sent])
                for _ in range(rng.choice([0, 0, 1, 5])):
                    await client.stream.receive_some(rng.choice([10, 65536]))
                await trio.sleep(rng.choice([0, 0, 0.3, 0.7]))
        except trio.BrokenResourceError:
            pass
        if rng.random() < 0.7:
            client.reset()


@pytest.mark.parametrize("seed", range(3))
async def test_row_12_clients_that_abort_anywhere_leave_nothing(
    seed: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """1500 aborts at seeded points, by RST or FIN, 20 at a time."""
    rng = random.Random(seed)
    async with (
        open_backend(besides_checks(by_target)) as one,
        open_backend(besides_checks(by_target)) as two,
        open_balancer(one.url, two.url, health_check="off") as balancer,
    ):
        await trio.testing.wait_all_tasks_blocked()
        base = held_at_first()
        for _ in range(ABORTS // 3 // 20):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(abort_somewhere, balancer.addresses[0], rng)
            # A connection that an aborted request left behind would show here.
            response = await request(balancer.addresses[0], target="/echo", body=b"mine")
            assert (response.status, response.body) == (200, b"mine")
        await trio.sleep(25)
        await one.wait_until(lambda backend: not backend.open_connections)
        await two.wait_until(lambda backend: not backend.open_connections)
        assert held() == base
        assert states(balancer) == ["alive", "alive"]
        statistics = balancer.statistics()
        assert (statistics.client_connections, statistics.total_active) == (0, 0)
        assert [server.failed for server in statistics.servers] == [0, 0]
        assert not one.protocol_errors
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]
