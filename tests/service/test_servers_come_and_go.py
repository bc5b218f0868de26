"""Servers that die, fill up and return, as clients, statistics and the log see it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import CHECK_PATH, asked, besides_checks, open_balancer, states
from tests.support.client import open_client, request
from tests.support.net import free_port, http_url

if TYPE_CHECKING:
    from trio.testing import MockClock

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def state_lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """The log lines about servers: level and message."""
    return [
        (record.levelno, record.getMessage())
        for record in caplog.records
        if record.name == "trio_lb.runtime.service" and record.getMessage().startswith("server ")
    ]


async def test_checks_are_nobodys_traffic(autojump_clock: MockClock) -> None:
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        open_balancer(backend.url, health_check={"path": CHECK_PATH}) as balancer,
    ):
        await trio.sleep(65)
        assert len(backend.requests) >= 6
        assert not asked(backend)
        statistics = balancer.statistics()
        assert (statistics.requests_total, statistics.client_connections_total) == (0, 0)
        (server,) = statistics.servers
        assert (server.served, server.failed, server.bytes_received) == (0, 0, 0)
        assert (server.response_time_s, server.p50_s) == (None, None)
        await backend.stop()
        await trio.sleep(65)
        (server,) = balancer.statistics().servers
        assert (server.state, server.failed) == ("dead", 0)


async def test_one_line_per_change_of_state(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        open_backend(besides_checks(scripts.answer(b"a"))) as a,
        open_backend(besides_checks(scripts.answer(b"b"))) as b,
        open_balancer({"url": a.url, "name": "a"}, {"url": b.url, "name": "b"}) as balancer,
    ):
        url = balancer.addresses[0]
        await a.kill()
        async with trio.open_nursery() as nursery:  # many find out at the same time
            for _ in range(20):
                nursery.start_soon(_expect, url, b"b")
        await b.kill()
        assert (await request(url)).status == 503
        await trio.sleep(30)  # checks fail now, which is no news
        await a.start()
        await trio.sleep(12)
        assert (await request(url)).body == b"a"
        await b.start()
        await trio.sleep(12)
        assert states(balancer) == ["alive", "alive"]
        await trio.sleep(30)
    assert state_lines(caplog) == [
        (logging.WARNING, "server a: alive -> dead: connect: Connection refused (1 of 2 alive)"),
        (logging.WARNING, "server b: alive -> dead: connect: Connection refused (0 of 2 alive)"),
        (logging.INFO, "server a: dead -> alive: health check passed (1 of 2 alive)"),
        (logging.INFO, "server b: dead -> alive: health check passed (2 of 2 alive)"),
    ]


async def _expect(url: str, body: bytes) -> None:
    assert (await request(url)).body == body


async def test_a_server_that_is_dead_at_the_start_gets_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        open_backend(scripts.answer(b"", 500)) as ill,
        open_backend(besides_checks(scripts.answer(b"well"))) as well,
        open_balancer({"url": ill.url, "name": "ill"}, well.url) as balancer,
    ):
        assert states(balancer) == ["dead", "alive"]
        for _ in range(5):
            assert (await request(balancer.addresses[0])).body == b"well"
        assert not asked(ill)
    message = (
        f"server ill: alive -> dead: first health check: GET {CHECK_PATH} answered 500: set "
        "health_check.path, or health_check.statuses if that is healthy (1 of 2 alive)"
    )
    assert state_lines(caplog) == [(logging.WARNING, message)]


async def test_with_all_dead_the_answer_is_there_when_a_connection_would_be(
    autojump_clock: MockClock,
) -> None:
    urls = [http_url("127.0.0.1", free_port()) for _ in range(3)]
    async with open_balancer(*urls, health_check={"interval": "7s"}) as balancer:
        assert states(balancer) == ["dead"] * 3
        start = trio.current_time()
        response = await request(balancer.addresses[0], "POST", body=b"x" * 100_000)
        assert trio.current_time() - start < 2.2
        assert (response.status, response.header("retry-after")) == (503, "1")
        assert b"no server is available" in response.body
        statistics = balancer.statistics()
        assert statistics.responses_by_class["5xx"] == 1
        assert [server.failed for server in statistics.servers] == [0, 0, 0]


async def test_the_status_of_having_no_server_is_the_profiles() -> None:
    async with open_balancer("http://127.0.0.1:1", unavailable_status=500) as balancer:
        assert (await request(balancer.addresses[0])).status == 500


async def test_off_brings_a_refused_server_back_by_connecting(autojump_clock: MockClock) -> None:
    async with (
        open_backend(scripts.answer()) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
    ):
        url = balancer.addresses[0]
        await backend.stop()
        assert (await request(url)).status == 503
        assert states(balancer) == ["dead"]
        await backend.start()
        await trio.sleep(12)
        assert states(balancer) == ["alive"]
        assert (await request(url)).status == 200
        assert len(backend.requests) == 1


async def test_full_is_not_dead(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """FEATURES 6.3, trap 4: 503, not marked dead, counters right; and its check needs no slot."""
    script = besides_checks(scripts.delayed(25, scripts.answer(b"at last")))
    async with (
        open_backend(script) as backend,
        open_balancer({"url": backend.url, "max_connections": 2}, timeout="60s") as balancer,
        open_client(balancer.addresses[0]) as one,
        open_client(balancer.addresses[0]) as two,
    ):
        url = balancer.addresses[0]
        await one.send(GET)
        await two.send(GET)
        await backend.wait_until(lambda backend: len(asked(backend)) == 2)
        assert states(balancer) == ["full"]
        start = trio.current_time()
        response = await request(url)
        assert trio.current_time() == start
        assert (response.status, response.header("retry-after")) == (503, "1")
        await trio.sleep(22)  # two checks
        assert len(backend.requests) >= 2 + 3
        assert states(balancer) == ["full"]
        assert balancer.statistics().alive_servers == 1
        for client in (one, two):
            assert (await client.read_response()).body == b"at last"
        await trio.sleep(0.1)  # the accounts follow the answer
        assert states(balancer) == ["alive"]
        (server,) = balancer.statistics().servers
        assert (server.active, server.served, server.failed) == (0, 2, 0)
        assert len(asked(backend)) == 2
    assert not state_lines(caplog)


async def test_others_take_over_from_a_full_one(autojump_clock: MockClock) -> None:
    slow = besides_checks(scripts.delayed(5, scripts.answer(b"slow")))
    async with (
        open_backend(slow) as small,
        open_backend(besides_checks(scripts.answer(b"quick"))) as other,
        open_balancer({"url": small.url, "max_connections": 1}, other.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(GET)
        await small.wait_until(lambda backend: bool(asked(backend)))
        for _ in range(5):
            assert (await request(balancer.addresses[0])).body == b"quick"
        assert (await client.read_response()).body == b"slow"


async def test_refused_by_one_with_the_other_full_is_503(autojump_clock: MockClock) -> None:
    """Nothing was sent, and nobody is left: that is no bad gateway."""
    async with (
        open_backend(besides_checks(scripts.delayed(5, scripts.answer()))) as small,
        open_backend(besides_checks(scripts.answer())) as gone,
        open_balancer({"url": small.url, "max_connections": 1}, gone.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(GET)
        await small.wait_until(lambda backend: bool(asked(backend)))
        await gone.kill()
        response = await request(balancer.addresses[0])
        assert (response.status, response.header("retry-after")) == (503, "1")
        assert (await client.read_response()).complete


@pytest.mark.parametrize("last", [b"POST", b"GET"])
async def test_the_last_server_dies_between_its_check_and_its_pick(last: bytes) -> None:
    """FEATURES 6.3, trap 3: 503, and the balancer is fine."""
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        open_balancer(backend.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await backend.kill()
        assert states(balancer) == ["alive"]
        for _ in range(2):
            await client.send(b"%b / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % last)
            assert (await client.read_response()).status == 503
        assert states(balancer) == ["dead"]
        (server,) = balancer.statistics().servers
        assert (server.active, server.failed) == (0, 1)


async def test_a_restarted_server_is_not_met_with_old_connections(
    autojump_clock: MockClock,
) -> None:
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        open_balancer(backend.url) as balancer,
    ):
        for _ in range(5):
            assert (await request(balancer.addresses[0])).status == 200
            await backend.kill()
            await backend.start()
            assert (await request(balancer.addresses[0], "POST", body=b"x")).status == 200
        assert len(asked(backend)) == 10


async def test_a_clients_slow_upload_is_not_its_servers_response_time(
    autojump_clock: MockClock,
) -> None:
    async with (
        open_backend(besides_checks(scripts.delayed(0.25, scripts.answer()))) as backend,
        open_balancer(backend.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            await trio.sleep(2)
            await client.send(scripts.chunk(b"x"))
        await client.send(b"0\r\n\r\n")
        assert (await client.read_response("POST")).status == 200
        (server,) = balancer.statistics().servers
        assert server.response_time_s == pytest.approx(0.25, rel=0.05)
