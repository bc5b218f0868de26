"""WebSockets by two client libraries, to a server by one of them."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio_websocket import ConnectionClosed, open_websocket_url
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import besides_checks, open_balancer
from tests.support.peers import run_websocket_server
from tests.support.supervised import open_supervisor, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio_websocket import WebSocketConnection

#: From a frame without a payload, over the places where its length is written in another way, to
#: more than all buffers on the way hold.
SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20, (1 << 22) + 1]

LARGEST = 1 << 23


def payload(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def websocket_url(url: str) -> str:
    return url.replace("http:", "ws:")


@asynccontextmanager
async def open_websocket(url: str) -> AsyncIterator[WebSocketConnection]:
    """A connection by trio-websocket."""
    async with open_websocket_url(websocket_url(url), max_message_size=LARGEST) as websocket:
        yield websocket


@asynccontextmanager
async def websocket_balancer(**settings: object) -> AsyncIterator[str]:
    """The URL of a balancer over a WebSocket server; when it is left, no tunnel is."""
    async with (
        run_websocket_server() as url,
        open_balancer(url, health_check="off", **settings) as balancer,
    ):
        yield balancer.addresses[0]
        await until(lambda: not balancer.statistics().client_connections)
        assert balancer.statistics().total_active == 0


async def test_messages_of_all_sizes_by_trio_websocket() -> None:
    async with websocket_balancer() as url, open_websocket(f"{url}/any?query") as websocket:
        for size in SIZES:
            await websocket.send_message(payload(size))
            assert await websocket.get_message() == payload(size)
        await websocket.send_message("täxt")
        assert await websocket.get_message() == "täxt"


async def test_messages_of_all_sizes_by_websockets() -> None:
    def converse(url: str) -> None:
        with connect(url, max_size=LARGEST) as websocket:
            for size in SIZES:
                websocket.send(payload(size))
                assert websocket.recv() == payload(size)
            websocket.send(payload(size) for size in (10, 0, 100_000))  # in fragments
            assert websocket.recv() == payload(10) + payload(100_000)

    async with websocket_balancer() as url:
        await trio.to_thread.run_sync(converse, websocket_url(url))


async def test_many_small_messages_at_once_in_both_directions() -> None:
    count = 2000
    async with (
        websocket_balancer() as url,
        open_websocket(url) as websocket,
        trio.open_nursery() as nursery,
    ):

        async def send() -> None:
            for number in range(count):
                await websocket.send_message(str(number))

        nursery.start_soon(send)
        for number in range(count):
            assert await websocket.get_message() == str(number)


async def test_ping_and_pong() -> None:
    def ping(url: str) -> None:
        with connect(url) as websocket:
            assert websocket.ping().wait(10)

    async with websocket_balancer() as url:
        async with open_websocket(url) as websocket:
            with trio.fail_after(10):
                await websocket.ping(b"payload")  # returns when the pong is there
        await trio.to_thread.run_sync(ping, websocket_url(url))


async def test_the_closing_handshake(tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = {"access_log": str(log), "access_log_format": "json"}
    async with websocket_balancer(**settings) as url:
        async with open_websocket(url) as websocket:
            await websocket.send_message("hello")
            assert await websocket.get_message() == "hello"
            await websocket.aclose(4321, "done")
            assert websocket.closed is not None
            assert (websocket.closed.code, websocket.closed.reason) == (4321, "done")
            with pytest.raises(ConnectionClosed):
                await websocket.get_message()
        await until(lambda: log.exists() and log.read_text())
    record = json.loads(log.read_text())
    assert (record["status"], record["ended"]) == (101, "ok")
    assert record["bytes_sent"] > 7
    assert record["bytes_received"] > 11  # frames of clients are masked
    assert record["server"] is not None


async def test_a_server_that_refuses_is_heard() -> None:
    def refused(url: str) -> int:
        with pytest.raises(InvalidStatus) as caught, connect(url):
            pass
        status: int = caught.value.response.status_code
        return status

    forbidden = besides_checks(scripts.answer(b"no", 403))
    async with open_backend(forbidden) as backend, open_balancer(backend.url) as balancer:
        url = balancer.addresses[0]
        assert await trio.to_thread.run_sync(refused, websocket_url(url)) == 403


async def test_five_hundred_at_once() -> None:
    count = 500
    everybody = trio.Event()
    turns = trio.CapacityLimiter(50)
    there = 0
    async with (
        run_websocket_server() as server,
        open_supervisor(server, health_check="off") as balancer,
    ):

        async def converse(number: int) -> None:
            nonlocal there
            await turns.acquire()
            async with open_websocket(balancer.url) as websocket:
                await websocket.send_message(f"I am {number}")
                assert await websocket.get_message() == f"I am {number}"
                there += 1
                turns.release()
                await everybody.wait()
                async with turns:
                    await websocket.send_message(f"{number} is still here")
                    assert await websocket.get_message() == f"{number} is still here"

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(converse, number)
                await until(lambda: there == count)
                statistics = balancer.statistics()
                assert statistics.total_active == statistics.client_connections == count
                async with open_websocket(balancer.url) as websocket:
                    await websocket.send_message("?")
                    assert await websocket.get_message() == str(count + 1)
                everybody.set()
        await until(lambda: not balancer.statistics().client_connections)
        statistics = balancer.statistics()
        # Both sides close at the same time, and a tunnel that is reset by that is not a served one.
        assert (statistics.total_active, statistics.requests_total) == (0, count + 1)
        assert statistics.servers[0].failed == 0
        assert await balancer.end()
