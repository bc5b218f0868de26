"""Connections to servers: which are used again, and which are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import End, Script
from tests.support.rig import get, open_bed, open_rig, post
from trio_lb.config import Upstream

if TYPE_CHECKING:
    from trio.testing import MockClock

TWICE = get("/1") + get("/2")


@pytest.mark.parametrize("kind", ["memory", "sockets"])
async def test_one_connection_serves_many_requests_of_many_clients(kind: str) -> None:
    async with open_bed(kind, scripts.answer()) as bed:
        for _ in range(5):
            async with bed.client() as client:
                await client.send(TWICE)
                for _ in range(2):
                    assert (await client.read_response()).status == 200
        assert len(bed.backends[0].requests) == 10
        assert len(bed.backends[0].connections) == 1


@pytest.mark.parametrize(
    "script",
    [
        scripts.closing(),
        scripts.answer(headers=[("Connection", "close")]),
        scripts.until_close(b"ok"),
        scripts.raw(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", reset=False),
        scripts.overlong(b"ok", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"),
        scripts.overlong(b"ok", b"x"),
    ],
)
@pytest.mark.parametrize("kind", ["memory", "sockets"])
async def test_what_is_not_used_again(kind: str, script: Script) -> None:
    async with open_bed(kind, script) as bed, bed.client() as client:
        await client.send(TWICE)
        for _ in range(2):
            response = await client.read_response()
            assert (response.status, response.body) == (200, b"ok")
        assert len(bed.backends[0].connections) == 2


async def test_bytes_that_come_late_are_nobodys_answer() -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await client.send(get())
        await client.read_response()
        [connection] = rig.backends[0].connections
        await connection.stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
        await client.send(get())
        assert (await client.read_response()).body == b"ok"
        assert len(rig.backends[0].connections) == 2


async def test_a_connection_that_its_server_closed_meanwhile(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await client.send(get())
        await client.read_response()
        await rig.backends[0].stop()
        await rig.backends[0].start()
        await client.send(post(b"x"))
        assert (await client.read_response()).status == 200
        assert rig.failed == [0]


async def test_an_early_answer_ends_the_servers_connection_too() -> None:
    script = scripts.early_answer(413, b"no")
    async with open_rig(script) as rig, rig.client() as client:
        await client.send(get("/", "Content-Length: 100000", method="POST"))
        assert (await client.read_response()).status == 413
        await rig.backends[0].wait_until(lambda backend: not backend.open_connections)
        assert len(rig.upstreams) == 0


async def test_old_ones_are_not_used(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await client.send(get())
        await client.read_response()
        await trio.sleep(3.9)
        await client.send(get())
        await client.read_response()
        assert len(rig.backends[0].connections) == 1
        await trio.sleep(4.1)
        await client.send(get())
        await client.read_response()
        assert len(rig.backends[0].connections) == 2


async def test_no_more_are_kept_than_wanted() -> None:
    async with open_rig(scripts.answer(), upstream=Upstream(idle_connections=0)) as rig:
        await rig.ask(get())
        assert len(rig.upstreams) == 0
        await rig.backends[0].wait_until(lambda backend: not backend.open_connections)
        assert rig.backends[0].connections[0].end is End.PEER_CLOSED


async def test_servers_are_not_mixed_up() -> None:
    async with open_rig(scripts.answer(b"1"), scripts.answer(b"2")) as rig, rig.client() as client:
        for n in range(10):
            await client.send(get())
            assert (await client.read_response()).body == b"%d" % (n % 2 + 1)
        assert [len(backend.connections) for backend in rig.backends] == [1, 1]
