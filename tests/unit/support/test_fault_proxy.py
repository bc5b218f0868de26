"""The proxy's faults, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import End as ServerEnd
from tests.support.backend import open_backend
from tests.support.client import End, open_client, request
from tests.support.fault_proxy import open_fault_proxy
from tests.support.net import black_hole, dial, free_port, http_url

if TYPE_CHECKING:
    from trio.testing import MockClock

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_passes_everything_when_nothing_is_wrong() -> None:
    async with (
        open_backend(scripts.bulk(300_000)) as backend,
        open_fault_proxy(backend.url) as proxy,
    ):
        response = await request(proxy.url)
        assert (response.complete, len(response.body)) == (True, 300_000)
        assert proxy.to_client.passed > 300_000
        assert proxy.connections == 1
        await backend.wait_until(lambda backend: not backend.open_connections)
        assert backend.connections[0].end is ServerEnd.PEER_CLOSED


@pytest.mark.parametrize("reset", [True, False])
async def test_cut_of_a_response(reset: bool) -> None:
    async with open_backend(scripts.bulk(1000)) as backend, open_fault_proxy(backend.url) as proxy:
        proxy.to_client.cut_after = 100
        proxy.to_client.cut_with_reset = reset
        async with open_client(proxy.url) as client:
            await client.send(GET)
            data, end = await client.read_until_close()
        assert end is (End.RESET if reset else End.EOF)
        assert len(data) == 100 or reset  # a RST may overtake the bytes before it
        assert proxy.to_client.passed == 100
        await backend.wait_until(lambda backend: not backend.open_connections)
        proxy.heal()
        assert (await request(proxy.url)).complete


async def test_cut_of_a_request() -> None:
    async with open_backend(scripts.answer()) as backend, open_fault_proxy(backend.url) as proxy:
        proxy.to_server.cut_after = 10
        assert (await request(proxy.url)).status == 0
        await backend.wait_until(lambda backend: not backend.open_connections)
        assert backend.connections[0].end is ServerEnd.PEER_RESET
        assert not backend.requests


async def test_stall_holds_back_and_goes_on_when_healed(autojump_clock: MockClock) -> None:
    async with open_backend(scripts.answer()) as backend, open_fault_proxy(backend.url) as proxy:
        proxy.to_client.stall()
        async with open_client(proxy.url) as client:
            await client.send(GET)
            with trio.move_on_after(60) as scope:
                await client.read_response()
            assert scope.cancelled_caught
            assert len(backend.requests) == 1
            proxy.heal()
            assert (await client.read_response()).complete


async def test_dropping_is_silent_in_both_directions(autojump_clock: MockClock) -> None:
    async with open_backend(scripts.answer()) as backend, open_fault_proxy(backend.url) as proxy:
        async with open_client(proxy.url) as client:
            await client.send(GET)
            assert (await client.read_response()).complete
            proxy.to_server.drops = proxy.to_client.drops = True
            await client.send(GET)
            await backend.kill()
            with trio.move_on_after(60) as scope:
                await client.read_until_close()
            assert scope.cancelled_caught
        assert len(backend.requests) == 1


async def test_delay_and_rate(autojump_clock: MockClock) -> None:
    async with (
        open_backend(scripts.bulk(100_000)) as backend,
        open_fault_proxy(backend.url) as proxy,
    ):
        start = trio.current_time()
        proxy.to_server.delay = 7
        assert (await request(proxy.url)).complete
        assert trio.current_time() - start == pytest.approx(7)
        start = trio.current_time()
        proxy.heal()
        proxy.to_client.rate = 10_000
        assert (await request(proxy.url)).complete
        assert trio.current_time() - start == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("reset", [True, False])
async def test_cut_of_all_open_connections(reset: bool) -> None:
    async with open_backend(scripts.hang()) as backend, open_fault_proxy(backend.url) as proxy:
        async with open_client(proxy.url) as client:
            await client.send(GET)
            await backend.wait_until(lambda backend: bool(backend.requests))
            proxy.cut(with_reset=reset)
            assert (await client.read_until_close())[1] is (End.RESET if reset else End.EOF)
        await backend.wait_until(lambda backend: not backend.open_connections)
        assert proxy.open_connections == 0


async def test_a_refusing_server_resets_the_client() -> None:
    async with open_fault_proxy(http_url("127.0.0.1", free_port())) as proxy:
        assert (await request(proxy.url)).end is End.RESET


async def test_connecting_to_a_black_hole_never_ends(autojump_clock: MockClock) -> None:
    with black_hole() as url, trio.move_on_after(3600) as scope:
        await dial(url)
    assert scope.cancelled_caught
