"""Servers that have names, on the fast path: what is dialled, and who goes on where that fails.

Each request dials, as no connection is kept.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer, states
from tests.support.client import open_client
from tests.support.names import again
from tests.support.net import black_hole
from tests.support.rig import get, post, post_chunks
from tests.support.waiting import eventually
from trio_lb.net.dial import HEAD_START

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    import trio_lb
    from tests.support.backend import Backend, Exchange
    from tests.support.names import Names

REFUSING, SILENT, SERVING = "127.0.0.8", "127.0.0.1", "127.0.0.9"


@asynccontextmanager
async def moved(backend: Backend, port: int) -> AsyncIterator[None]:
    """Has a server listen on this port."""
    await backend.stop()
    backend.port = port
    await backend.start()
    yield


@asynccontextmanager
async def open_bed(**settings: Any) -> AsyncIterator[tuple[trio_lb.LoadBalancer, Backend]]:
    """A balancer whose server is `app.test`: one address answers, one refuses, one is silent."""

    async def echo(exchange: Exchange) -> None:
        await exchange.respond(await exchange.read_body() or b"ok")

    with black_hole() as url:
        port = int(url.rpartition(":")[2])
        async with (
            open_backend(echo, host=SERVING) as backend,
            moved(backend, port),
            open_balancer(
                f"http://app.test:{port}",
                upstream={"idle_connections": 0},
                **{"health_check": "off", "retries": 0} | settings,
            ) as balancer,
        ):
            await trio.testing.wait_all_tasks_blocked()  # the name has been looked up
            yield balancer, backend


async def test_the_fast_path_dials_them(
    names: Names, on_slow_path: list[bytes], autojump_clock: MockClock
) -> None:
    names.answers["app.test"] = [SERVING, REFUSING]
    async with open_bed() as (balancer, backend), open_client(balancer.addresses[0]) as client:
        for data in (get(), post(b"ok"), post_chunks(b"o", b"k"), get()):
            await client.send(data)
            assert (await client.read_response()).body == b"ok"
            await trio.sleep(10)
        assert not on_slow_path
        assert len(backend.connections) == 4
        assert len(names.asked) == 2, "every 30 s, whatever is dialled"


@pytest.mark.parametrize("first", [REFUSING, SILENT])
@pytest.mark.parametrize(
    "data",
    [get("/1"), post(b"ok", target="/1"), post_chunks(b"o", b"k", target="/1")],
    ids=["get", "post", "chunks"],
)
async def test_another_address_is_tried_by_the_slow_path_and_then_it_is_the_first(
    first: str, data: bytes, names: Names, on_slow_path: list[bytes], autojump_clock: MockClock
) -> None:
    names.answers["app.test"] = [first, SERVING]
    async with open_bed() as (balancer, backend), open_client(balancer.addresses[0]) as client:
        began = trio.current_time()
        await client.send(data)
        assert (await client.read_response()).body == b"ok"
        seconds = HEAD_START if first == SILENT else 0.0
        assert seconds <= trio.current_time() - began < seconds + 0.2
        for _ in range(3):
            await client.send(get("/2"))
            assert (await client.read_response()).body == b"ok"
        assert on_slow_path == [b"/1"]
        assert len(backend.connections) == 4
        assert [each.target for each in backend.requests] == ["/1", "/2", "/2", "/2"]
        assert balancer.statistics().servers[0].failed == 0


async def test_an_upload_meets_an_address_that_fails(
    names: Names, on_slow_path: list[bytes], autojump_clock: MockClock
) -> None:
    """Its body is streamed: what came of it is sent to the other address, once."""
    body = bytes(range(256)) * 4096
    names.answers["app.test"] = [SILENT, SERVING]
    async with open_bed() as (balancer, backend), open_client(balancer.addresses[0]) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, post(body))
            assert (await client.read_response()).body == body
        assert len(on_slow_path) == 1
        assert len(backend.connections) == 1


@pytest.mark.parametrize("seconds", [2.0, 0.1])
async def test_all_attempts_together_have_the_time_of_one(
    seconds: float, names: Names, autojump_clock: MockClock
) -> None:
    names.answers["app.test"] = [SILENT]
    async with open_bed(timeouts={"connect": seconds}) as (balancer, _):
        async with open_client(balancer.addresses[0]) as client:
            began = trio.current_time()
            await client.send(get())
            assert (await client.read_response()).status == 503
            assert seconds <= trio.current_time() - began < seconds + 0.35
        assert balancer.statistics().servers[0].failed == 1


async def test_a_client_that_leaves_while_its_server_is_connected_to(
    names: Names, autojump_clock: MockClock
) -> None:
    """On the fast path, and when the slow path has gone on."""
    names.answers["app.test"] = [SILENT]
    async with open_bed() as (balancer, _):
        for seconds in (0.1, 0.1 + HEAD_START):
            async with open_client(balancer.addresses[0]) as client:
                await client.send(get())
                await trio.sleep(seconds)
                client.reset()
            await eventually(lambda: not balancer.statistics().client_connections)
            assert balancer.statistics().total_active == 0
        assert states(balancer) == ["alive"]


async def test_without_any_address_the_slow_path_waits_for_one(
    names: Names, on_slow_path: list[bytes], autojump_clock: MockClock
) -> None:
    names.answers["app.test"] = again()
    async with open_bed() as (balancer, _), open_client(balancer.addresses[0]) as client:
        await trio.sleep(1)
        names.answers["app.test"] = [SERVING]
        for target in ("/1", "/2"):
            await client.send(get(target))
            assert (await client.read_response()).body == b"ok"
        assert on_slow_path == [b"/1"]


async def test_where_its_only_address_fails_the_name_is_looked_up_again(
    names: Names, on_slow_path: list[bytes], autojump_clock: MockClock
) -> None:
    """It has moved since the last look-up, and nobody is blamed."""
    for old in (REFUSING, SILENT):
        names.answers["app.test"] = [old]
        async with open_bed() as (balancer, _), open_client(balancer.addresses[0]) as client:
            await trio.sleep(5)
            names.answers["app.test"] = [SERVING]
            on_slow_path.clear()
            for target in ("/1", "/2"):
                await client.send(get(target))
                assert (await client.read_response()).body == b"ok"
            assert on_slow_path == [b"/1"]
            assert balancer.statistics().servers[0].failed == 0


async def test_checks_share_what_is_known(names: Names, autojump_clock: MockClock) -> None:
    names.answers["app.test"] = [SERVING]
    checks = {"path": "/well", "interval": "1s", "jitter": 0}
    async with open_bed(health_check=checks) as (balancer, backend):
        async with open_client(balancer.addresses[0]) as client:
            for _ in range(100):
                await client.send(get())
                assert (await client.read_response()).body == b"ok"
                await trio.sleep(1)
        assert len(backend.connections) > 190
        assert len(names.asked) == 4


async def test_a_name_that_does_not_resolve_at_the_start_is_told_of(
    names: Names, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """It is not the end, not even with checks: the server is there as soon as its name is."""
    names.answers["app.test"] = again()
    async with open_bed() as (balancer, _), open_client(balancer.addresses[0]) as client:
        assert any("does not resolve: Temporary failure" in each for each in caplog.messages)
        await client.send(get())
        assert (await client.read_response()).status == 503
        names.answers["app.test"] = [SERVING]
        await trio.sleep(10)
        await client.send(get())
        assert (await client.read_response()).status == 200


async def test_several_servers_of_one_name_are_looked_up_once(
    names: Names, autojump_clock: MockClock
) -> None:
    names.answers["app.test"] = [SERVING]
    async with (
        open_backend(scripts.answer(b"a"), host=SERVING) as a,
        open_backend(scripts.answer(b"b"), host=SERVING) as b,
        open_balancer(
            f"http://app.test:{a.port}", f"http://app.test:{b.port}", health_check="off"
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        bodies = set()
        for _ in range(4):
            await client.send(get())
            bodies.add((await client.read_response()).body)
        assert bodies == {b"a", b"b"}
        assert len(names.asked) == 1
