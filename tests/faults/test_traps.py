"""Traps that other balancers fell into (FEATURES 6.3) and that no other test is about.

1 and 14 are in tests/unit/pool, 3 and 4 in tests/service, 13 beside this file.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
import trio

import trio_lb
from tests.support import scripts
from tests.support.backend import End, open_backend
from tests.support.balancer import asked, besides_checks, open_balancer, profile_of, states
from tests.support.client import open_client, request

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_trap_1_weights_hold_for_clients_and_while_a_server_is_down() -> None:
    async with (
        open_backend(besides_checks(scripts.answer(b"20"))) as one,
        open_backend(besides_checks(scripts.answer(b"30"))) as two,
        open_backend(besides_checks(scripts.answer(b"10"))) as three,
        open_balancer(
            {"url": one.url, "weight": 20},
            {"url": two.url, "weight": 30},
            {"url": three.url, "weight": 10},
            algorithm="wrr",
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):

        async def shares(count: int) -> Counter[bytes]:
            counter: Counter[bytes] = Counter()
            for _ in range(count):
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                counter[(await client.read_response()).body] += 1
            return counter

        assert await shares(300) == {b"20": 100, b"30": 150, b"10": 50}
        await two.kill()
        await shares(6)  # finds out
        assert await shares(300) == {b"20": 200, b"10": 100}


@pytest.mark.parametrize("weight", [0, -1, 65536, "heavy", None])
def test_trap_2_a_weight_that_is_none_is_an_error_of_the_profile(weight: object) -> None:
    with pytest.raises(trio_lb.ProfileError, match="weight"):
        profile_of({"url": "http://127.0.0.1:1", "weight": weight})


def test_trap_2_fewer_weights_than_servers_is_an_error_of_the_profile() -> None:
    text = """\
load balancer: http://127.0.0.1:8000
servers: http://127.0.0.1:3001, http://127.0.0.1:3002
weights: 1
"""
    with pytest.raises(trio_lb.ProfileError, match="weights"):
        trio_lb.parse_profile(text)


async def test_trap_6_what_a_client_says_of_itself_never_reaches_a_server() -> None:
    forged = {
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil",
        "X-Forwarded-Port": "443",
        "X-Real-IP": "10.0.0.1",
        "Forwarded": "for=10.0.0.1",
        "x-FORWARDED-for": "10.0.0.2",
    }
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        open_balancer(backend.url) as balancer,
    ):
        await request(balancer.addresses[0], headers=[("Host", "h"), *forged.items()][1:])
        (seen,) = asked(backend)
        names = [name for name, _ in seen.headers]
        assert len(names) == len(set(names))
        assert seen.header("x-forwarded-for") == seen.header("x-real-ip") == "127.0.0.1"
        assert seen.header("x-forwarded-proto") == "http"
        assert seen.header("x-forwarded-host") == seen.header("host")
        assert not {"forwarded", "x-forwarded-port"} & set(names)


async def test_trap_7_what_connection_names_ends_here_and_the_pool_is_left_alone() -> None:
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        open_balancer(backend.url) as balancer,
    ):
        for _ in range(5):
            response = await request(
                balancer.addresses[0],
                headers=[("Connection", "close, X-Foo"), ("X-Foo", "1"), ("X-Bar", "2")],
            )
            assert response.header("connection") == "close"
        assert {seen.header("x-foo") for seen in asked(backend)} == {None}
        assert {seen.header("x-bar") for seen in asked(backend)} == {"2"}
        assert {seen.header("connection") for seen in asked(backend)} == {None}
        assert len(backend.connections) == 1 + 1  # the check's, and one for all of them


async def test_trap_8_a_chunked_upload_above_the_limit_is_413_and_ends_at_the_server() -> None:
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        open_balancer(backend.url, limits={"body": "100KiB"}) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(30):
            await client.send(scripts.chunk(b"x" * 4096))
            await trio.testing.wait_all_tasks_blocked()
        response = await client.read_response("POST")
        assert (response.status, response.complete) == (413, True)
        await backend.wait_until(lambda backend: not backend.open_connections)
        (seen,) = asked(backend)
        assert not seen.complete
        assert seen.body_size <= 100 * 1024
        assert backend.connections[-1].end in (End.PEER_CLOSED, End.PEER_RESET)
        (server,) = balancer.statistics().servers
        assert (server.state, server.failed, server.active) == ("alive", 0, 0)


async def test_trap_15_missing_times_are_defaults_and_no_busy_loop(
    autojump_clock: MockClock,
) -> None:
    """The article's format without `timeout` and `health check interval`."""
    async with open_backend(scripts.answer()) as backend:
        profile = trio_lb.parse_profile(
            f"load balancer: http://127.0.0.1:0\nalgorithm: round robin\nservers: {backend.url}\n"
        )
        assert profile.timeout == 10
        assert (profile.health_check.interval, profile.health_check.timeout) == (10, 5)
        async with trio_lb.open_load_balancer(profile) as balancer:
            await trio.sleep(100)
            assert 1 + 8 <= len(backend.requests) <= 1 + 12
            assert states(balancer) == ["alive"]
            backend.script = scripts.delayed(9, scripts.answer())
            assert (await request(balancer.addresses[0])).status == 200
