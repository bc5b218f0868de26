"""Clients that are accepted on the fast path have no task until something is handed over."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client
from tests.support.leaks import assert_even
from tests.support.rig import get, post
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import trio_lb
    from tests.support.backend import Exchange
    from tests.support.client import Client

HALF = get()[:20]


def taskless(balancer: trio_lb.LoadBalancer) -> int:
    """How many clients have no task."""
    clients = balancer._service._proxy._taskless
    assert clients is not None
    return clients.count


def with_task(balancer: trio_lb.LoadBalancer) -> int:
    """How many clients have one."""
    return len(balancer._service._proxy._sessions)


async def ask(client: Client, data: bytes = get()) -> bytes:
    await client.send(data)
    return (await client.read_response()).body


async def test_a_client_has_no_task() -> None:
    async with (
        open_backend(scripts.answer(b"ok")) as server,
        open_balancer(server.url, health_check="off") as balancer,
        AsyncExitStack() as stack,
    ):
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(20):
            client = await stack.enter_async_context(open_client(balancer.addresses[0]))
            assert await ask(client) == b"ok"
            assert await ask(client, post(b"x" * 1000)) == b"ok"
        # That of the server's connection is the test's own.
        tasks = trio.lowlevel.current_statistics().tasks_living - before
        assert tasks <= len(server.connections)
        assert (taskless(balancer), with_task(balancer)) == (20, 0)
        assert balancer.statistics().client_connections == 20


async def test_it_gets_one_with_the_first_request_that_is_not_ordinary() -> None:
    async with (
        open_backend(scripts.answer(b"ok")) as server,
        open_balancer(server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        assert await ask(client) == b"ok"
        assert (taskless(balancer), with_task(balancer)) == (1, 0)
        assert await ask(client, get("/", "Transfer-Encoding: identity")) != b"ok"
        await eventually(lambda: not balancer.statistics().client_connections)
        assert_even(balancer)


async def test_it_keeps_it() -> None:
    interim = scripts.informational(103, [("Content-Length", "0")], scripts.answer(b"ok"))
    async with (
        open_backend(scripts.in_turn(scripts.answer(b"ok"), interim)) as server,
        open_balancer(server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(6):
            assert await ask(client) == b"ok"
        assert (taskless(balancer), with_task(balancer)) == (0, 1)
        assert balancer._service.counters.read().requests == 6


async def test_one_that_no_task_can_be_started_for_is_closed_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        open_backend(scripts.answer(b"ok")) as server,
        open_balancer(server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        with monkeypatch.context() as without:
            without.setattr(balancer._service, "_limiter", None)
            await client.send(get("/", "Transfer-Encoding: identity"))
            assert not (await client.read_response()).status
        assert "giving a client's connection a task failed" in caplog.text
        caplog.clear()  # else it counts as an error that nobody expected
        assert balancer.statistics().client_connections == 0
        assert_even(balancer)


@pytest.mark.parametrize("state", ["new", "begun", "idle", "waiting", "answering", "with a task"])
@pytest.mark.parametrize("how", ["leave", "cancel", "drain"])
async def test_it_ends_with_the_balancer_in_every_state(state: str, how: str) -> None:
    """By the end of the block, by cancellation, and by a drain that is cut."""
    script = {
        "waiting": scripts.hang(),
        "answering": half_an_answer,
        "with a task": scripts.informational(103, [("Content-Length", "0")], scripts.hang()),
    }.get(state, scripts.answer(b"ok"))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_backend(script))
        scope = stack.enter_context(trio.CancelScope())
        balancer = await stack.enter_async_context(
            open_balancer(server.url, health_check="off", timeouts={"drain": "50ms"})
        )
        client = await stack.enter_async_context(open_client(balancer.addresses[0]))
        if state == "idle":
            assert await ask(client) == b"ok"
        elif state == "begun":
            await client.send(HALF)
        elif state != "new":
            await client.send(get())
            await server.wait_until(lambda backend: bool(backend.requests))
        await eventually(lambda: taskless(balancer) + with_task(balancer) == 1)
        if state == "answering":
            await client.stream.receive_some(65536)
        counters = balancer._service.counters
        if how == "drain":
            assert not await balancer.drain()  # who is idle has a second for a last request
            assert counters.connections == 0
        elif how == "cancel":
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert counters.connections == 0
    assert taskless(balancer) == with_task(balancer) == 0


async def half_an_answer(exchange: Exchange) -> None:
    """Answers with half of what it has promised, and then waits."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 100)
    await trio.sleep_forever()
