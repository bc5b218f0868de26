"""`LoadBalancer.drain`: what is finished, what is cut, and when it comes back."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks, open_balancer, profile_of
from tests.support.client import End, Response, open_client, request
from tests.support.leaks import nothing_left
from tests.support.paths import both_paths
from trio_lb.config import compile_plan
from trio_lb.net.listen import open_listeners
from trio_lb.pool import ServerPool
from trio_lb.runtime.service import open_service

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    import trio_lb
    from tests.support.backend import Exchange

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_with_nobody_there_it_is_over_at_once() -> None:
    async with open_backend(besides_checks(scripts.answer())) as backend:
        for _ in range(20):  # tasks start in random order
            async with open_balancer(backend.url) as balancer:
                assert await balancer.drain()
                with pytest.raises(OSError, match="attempts to connect"):
                    await request(balancer.addresses[0])


async def test_twice_is_once() -> None:
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        open_balancer(backend.url) as balancer,
    ):
        assert await balancer.drain()
        assert await balancer.drain()


async def test_several_may_wait_for_it(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        open_backend(besides_checks(scripts.hang())) as backend,
        open_balancer(backend.url, timeout="60s", timeouts={"drain": "3s"}) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(GET)
        await backend.wait_until(lambda backend: bool(asked(backend)))
        result: list[bool] = []
        with trio.fail_after(4):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(_drain, balancer, result)
            assert not await balancer.drain()
        assert result == [False] * 3
    assert len([each for each in caplog.messages if "are closed" in each]) == 1


async def test_after_the_block_there_is_nothing_to_wait_for(autojump_clock: MockClock) -> None:
    async with open_backend(besides_checks(scripts.answer())) as backend:
        async with open_balancer(backend.url) as left:
            pass
        async with open_balancer(backend.url) as drained:
            assert await drained.drain()
        with trio.fail_after(1):
            assert not await left.drain()
            assert await drained.drain()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_block_that_ends_meanwhile_ends_the_wait(
    cancelled: bool, autojump_clock: MockClock
) -> None:
    """Also for who waits outside of it, a signal handler's task say."""
    result: list[bool] = []
    async with open_backend(besides_checks(scripts.hang())) as backend:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    async with (
                        open_balancer(backend.url, timeout="60s") as balancer,
                        open_client(balancer.addresses[0]) as client,
                    ):
                        await client.send(GET)
                        await backend.wait_until(lambda backend: bool(asked(backend)))
                        nursery.start_soon(_drain, balancer, result)
                        await trio.sleep(1)
                        assert result == []
                        if cancelled:
                            scope.cancel()
                            await trio.sleep_forever()
    assert result == [False]


async def test_a_drain_before_the_beginning_leaves_nothing_to_begin() -> None:
    profile = profile_of("http://127.0.0.1:1")
    plan = compile_plan(profile)
    (pool,) = plan.pools
    servers = ServerPool.private(pool.servers, pool.algorithm)
    listeners = await open_listeners(plan.listeners)
    async with open_service(plan, listeners, servers.table, servers) as service:
        with trio.fail_after(5):
            assert await service.drain()
            await service.accept()
            assert await service.drain()


async def test_idle_clients_go_in_a_moment_and_busy_ones_after_their_answer(
    autojump_clock: MockClock,
) -> None:
    script = besides_checks(scripts.delayed(5, scripts.answer(b"done")))
    async with open_backend(script) as backend, open_balancer(backend.url) as balancer:
        url = balancer.addresses[0]
        async with open_client(url) as silent, open_client(url) as served, open_client(url) as busy:
            await served.send(GET)
            assert (await served.read_response()).header("connection") is None
            await busy.send(GET)
            await backend.wait_until(lambda backend: len(asked(backend)) == 2)
            start = trio.current_time()
            result: list[bool] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_drain, balancer, result)
                assert await served.read_until_close() == (b"", End.EOF)
                assert 1 <= trio.current_time() - start <= 1.2
                assert await silent.read_until_close() == (b"", End.EOF)
                with pytest.raises(OSError, match="attempts to connect"):
                    await request(url)
                response = await busy.read_response()
                assert (response.body, response.header("connection")) == (b"done", "close")
                assert await busy.read_until_close() == (b"", End.EOF)
            assert result == [True]
            assert trio.current_time() - start == pytest.approx(5, abs=0.2)


async def test_what_takes_too_long_is_cut(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_backend(besides_checks(scripts.hang())) as backend:
        with nothing_left():
            async with (
                open_balancer(backend.url, timeout="60s", timeouts={"drain": "3s"}) as balancer,
                open_client(balancer.addresses[0]) as client,
            ):
                await client.send(GET)
                await backend.wait_until(lambda backend: bool(asked(backend)))
                start = trio.current_time()
                assert not await balancer.drain()
                assert trio.current_time() - start == pytest.approx(3)
                assert not (await client.read_response()).complete
                assert balancer.statistics().total_active == 0
            await backend.wait_until(lambda backend: not backend.open_connections)
    assert "drain timeout: 1 client connections are closed" in caplog.messages


async def test_who_waits_in_the_queue_is_served() -> None:
    """Connected, and even asking, before the balancer had a turn to accept."""
    async with (
        open_backend(besides_checks(scripts.answer(b"served"))) as backend,
        open_balancer(backend.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        # No checkpoint between here and `drain`: it can't have been accepted with GET.
        client.stream.socket._sock.send(GET)  # type: ignore[attr-defined]
        assert await balancer.drain()
        response = await client.read_response()
        assert (response.body, response.header("connection")) == (b"served", "close")


async def test_a_queue_of_many_is_served() -> None:
    async with open_backend(besides_checks(scripts.answer(b"served"))) as backend:
        async with open_balancer(backend.url) as balancer:
            port = urlsplit(balancer.addresses[0]).port
            queue = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
            for sock in queue:
                sock.send(GET)
            assert await balancer.drain()
            for sock in queue:
                with sock:
                    sock.settimeout(5)
                    assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        assert balancer.statistics().responses_by_class["2xx"] == 100


async def test_an_upload_under_way_is_finished(autojump_clock: MockClock) -> None:
    async with (
        open_backend(besides_checks(scripts.echo())) as backend,
        open_balancer(backend.url) as balancer,
        open_client(balancer.addresses[0]) as client,
        trio.open_nursery() as nursery,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"3\r\nabc\r\n")
        await backend.wait_until(lambda backend: bool(asked(backend)))
        result: list[bool] = []
        nursery.start_soon(_drain, balancer, result)
        await trio.sleep(2)
        await client.send(b"3\r\ndef\r\n0\r\n\r\n")
        response: Response = await client.read_response("POST")
        assert (response.complete, response.body) == (True, b"abcdef")
        await trio.sleep(1)
        assert result == [True]


async def _drain(balancer: trio_lb.LoadBalancer, result: list[bool]) -> None:
    result.append(await balancer.drain())


def ends_plainly(body: bytes) -> bytes:
    return scripts.chunk(body) + scripts.chunk(b"")


def ends_with_trailers(body: bytes) -> bytes:
    return scripts.chunk(body) + scripts.last_chunk([("X-Sum", "1")])


@both_paths
@pytest.mark.parametrize("ends", [ends_plainly, ends_with_trailers, bytes])
async def test_who_was_not_told_that_an_answer_is_the_last_one_may_ask_again(
    fast_path: bool, ends: Callable[[bytes], bytes], autojump_clock: MockClock
) -> None:
    """The drain begins behind the head of an answer: the request after it is the last one."""

    async def slow(exchange: Exchange) -> None:
        framing = ("Connection", "close") if ends is bytes else scripts.CHUNKED
        await exchange.send_head(200, [framing])
        await trio.sleep(1)
        await exchange.send(ends(b"body"))
        if ends is bytes:
            await exchange.close()

    async with (
        open_backend(besides_checks(slow)) as backend,
        open_balancer(backend.url, fast_path=fast_path) as balancer,
        trio.open_nursery() as nursery,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(GET)
        await trio.sleep(0.5)
        nursery.start_soon(balancer.drain)
        response = await client.read_response()
        assert (response.body, response.header("connection")) == (b"body", None)
        await trio.sleep(0.5)
        await client.send(GET)
        response = await client.read_response()
        assert (response.body, response.header("connection")) == (b"body", "close")
        assert await client.read_until_close() == (b"", End.EOF)
