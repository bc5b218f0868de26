"""Draining, and clients that leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support import scripts
from tests.support.client import End
from tests.support.net import dial
from tests.support.rig import get, open_rig, open_socket_bed, post
from trio_lb.config import Timeouts
from trio_lb.errors import End as Ending
from trio_lb.net.deadlines import TICK

if TYPE_CHECKING:
    from tests.support.backend import Backend, Exchange


def has_request(backend: Backend) -> bool:
    """A request has arrived."""
    return bool(backend.requests)


# Drain


async def test_idle_clients_are_closed_in_a_moment(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as served, rig.client() as silent:
        await served.send(get())
        await served.read_response()
        await wait_all_tasks_blocked()
        rig.proxy.drain()
        assert await served.read_until_close() == (b"", End.EOF)
        assert await silent.read_until_close() == (b"", End.EOF)
        assert 1 <= trio.current_time() <= 1 + 2 * TICK
        await rig.idle()


async def test_a_request_on_its_way_when_the_drain_begins_is_answered(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as served, rig.client() as silent:
        await served.send(get())
        await served.read_response()
        await wait_all_tasks_blocked()
        rig.proxy.drain()
        await trio.sleep(0.9)
        for client in (served, silent):
            await client.send(get())
            response = await client.read_response()
            assert (response.status, response.header("connection")) == (200, "close")
        await rig.idle()


async def test_what_is_in_flight_is_answered_for_the_last_time(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.delayed(3, scripts.answer())) as rig, rig.client() as client:
        await client.send(get() + get("/never"))
        await rig.backends[0].wait_until(has_request)
        rig.proxy.drain()
        response = await client.read_response()
        assert (response.status, response.header("connection")) == (200, "close")
        assert await client.read_until_close() == (b"", End.EOF)
        assert len(rig.backends[0].requests) == 1


async def test_a_response_under_way_ends_and_the_connection_with_it(
    autojump_clock: MockClock,
) -> None:
    async def slow(exchange: Exchange) -> None:
        await exchange.send_head(200, [scripts.CHUNKED])
        for _ in range(5):
            await exchange.send(scripts.chunk(b"more"))
            await trio.sleep(1)
        await exchange.send(scripts.chunk(b""))

    async with open_rig(slow) as rig, rig.client() as client:
        await client.send(get())
        await trio.sleep(2.5)
        rig.proxy.drain()
        response = await client.read_response()
        assert (response.body, response.complete) == (b"more" * 5, True)
        assert await client.read_until_close() == (b"", End.EOF)


async def test_half_a_head_may_be_finished() -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await client.send(get()[:10])
        await wait_all_tasks_blocked()
        rig.proxy.drain()
        await client.send(get()[10:])
        response = await client.read_response()
        assert (response.status, response.header("connection")) == (200, "close")


async def test_a_request_that_came_just_before_is_served() -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await wait_all_tasks_blocked()
        await client.send(get())
        rig.proxy.drain()
        response = await client.read_response()
        assert (response.status, response.header("connection")) == (200, "close")


async def test_who_comes_later_may_still_ask_within_a_second(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer()) as rig:
        rig.proxy.drain()
        async with rig.client() as client:
            await trio.sleep(0.5)
            await client.send(get())
            assert (await client.read_response()).header("connection") == "close"
        async with rig.client() as client:
            began = trio.current_time()
            assert await client.read_until_close() == (b"", End.EOF)
            assert trio.current_time() - began == pytest.approx(1, abs=0.2)


async def test_a_last_answer_is_not_lost_to_what_the_client_sends_behind_its_request() -> None:
    async with open_rig(scripts.answer(b"hello")) as rig, rig.client() as client:
        rig.proxy.drain()
        await client.send(get() + get() * 10_000)
        response = await client.read_response()
        assert (response.body, response.complete) == (b"hello", True)


async def test_the_whole_balancer_drains() -> None:
    go_on = trio.Event()

    async def script(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.respond(b"last")

    async with open_socket_bed(script) as bed, bed.client() as idle, bed.client() as busy:
        await busy.send(get())
        await bed.backends[0].wait_until(has_request)
        queued = await dial(bed.lb.addresses[0])  # in the listening queue, or just accepted
        await queued.send_all(get())
        drained: list[bool] = []
        async with trio.open_nursery() as nursery:

            async def drain() -> None:
                drained.append(await bed.lb.drain())

            nursery.start_soon(drain)
            assert await idle.read_until_close() == (b"", End.EOF)
            with pytest.raises(OSError, match="all attempts"):
                await dial(bed.lb.addresses[0])
            go_on.set()
            response = await busy.read_response()
            assert (response.body, response.header("connection")) == (b"last", "close")
            answer = b""
            while piece := await queued.receive_some():
                answer += piece
            assert answer.endswith(b"last")
            await queued.aclose()
        assert drained == [True]
        assert bed.lb.statistics().client_connections == 0


async def test_the_drain_time_is_bounded(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    timeouts = Timeouts(drain=3)
    async with open_socket_bed(scripts.hang(), timeouts=timeouts) as bed, bed.client() as client:
        await client.send(get())
        await bed.backends[0].wait_until(has_request)
        began = trio.current_time()
        assert not await bed.lb.drain()
        assert trio.current_time() - began == pytest.approx(3, abs=0.3)
        assert not (await client.read_response()).complete
    assert "drain timeout: 1 client connections are closed" in caplog.messages


# Clients that leave


@pytest.mark.parametrize("reset", [False, True])
async def test_a_client_that_leaves_while_the_server_thinks(
    reset: bool, autojump_clock: MockClock
) -> None:
    async with open_rig(scripts.hang(), scripts.answer()) as rig, rig.client() as client:
        await client.send(get())
        await trio.sleep(3)
        if reset:
            client.reset()
        else:
            await client.stream.aclose()
        await rig.backends[0].wait_until(lambda backend: not backend.open_connections)
        assert trio.current_time() < 4
        await rig.idle()
        assert (rig.records[0].status, rig.failed, rig.served) == (499, [0, 0], [0, 0])
        assert not rig.backends[1].requests


async def test_a_client_that_leaves_during_its_upload(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer(), scripts.answer()) as rig, rig.client() as client:
        await client.send(get("/", "Content-Length: 1000000", method="PUT") + bytes(1000))
        await rig.backends[0].wait_until(has_request)
        await client.stream.aclose()
        await rig.backends[0].wait_until(lambda backend: not backend.open_connections)
        await rig.idle()
        assert (rig.records[0].status, rig.failed) == (499, [0, 0])
        assert not rig.backends[0].requests[0].complete
        assert not rig.backends[1].requests


async def test_a_client_that_leaves_while_its_upload_is_stuck(autojump_clock: MockClock) -> None:
    """Sending the body and waiting for an answer are two tasks then."""
    async with open_rig(scripts.hang(reads=False)) as rig, rig.client() as client:
        with trio.move_on_after(1):
            await client.send(get("/", "Content-Length: 1000000", method="PUT") + bytes(1_000_000))
        client.reset()
        await rig.idle()
        assert (rig.records[0].status, rig.records[0].ended) == (499, Ending.CLIENT_GONE)
        assert rig.records[0].reason == "the client reset the connection"
        assert rig.failed == [0]


@pytest.mark.parametrize("reset", [False, True])
async def test_a_client_that_leaves_during_its_download(
    reset: bool, autojump_clock: MockClock
) -> None:
    async with open_rig(scripts.bulk(10_000_000)) as rig, rig.client() as client:
        await client.send(get())
        await client.stream.receive_some()
        if reset:
            client.reset()
        else:
            await client.stream.aclose()
        await rig.backends[0].wait_until(lambda backend: not backend.open_connections)
        await rig.idle()
        assert (rig.records[0].status, rig.failed) == (200, [0])
        assert rig.records[0].ended is Ending.CLIENT_GONE


async def test_a_client_that_leaves_before_its_body_costs_no_server() -> None:
    async with open_rig() as rig, rig.client() as client:
        await client.send(post(b"x" * 1000)[:-1])
        await client.stream.aclose()
        await rig.idle()
        assert rig.records[0].status == 499


async def test_a_client_that_leaves_in_its_head_is_told_so() -> None:
    async with open_rig() as rig, rig.client() as client:
        await client.send(get()[:-2])
        await client.finish()
        assert (await client.read_response()).status == 400
