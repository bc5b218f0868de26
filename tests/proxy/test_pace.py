"""Clients that are too slow, and those that only seem so, on Trio's clock."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.client import Client, End
from tests.support.rig import Rig, get, open_rig, post
from trio_lb.config import Limits
from trio_lb.errors import End as Ending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from tests.support.backend import Exchange

pytestmark = pytest.mark.no_cover  # megabytes in small pieces, which reach no other lines

LATE = 0.3
CHUNKED = "Transfer-Encoding: chunked"
SIZE = 1_000_000


@asynccontextmanager
async def dripping(client: Client, data: bytes, every: float) -> AsyncIterator[None]:
    """Sends a byte each so many seconds for as long as the block lasts or the other end listens."""

    async def drip() -> None:
        try:
            for byte in data:
                await client.send(bytes([byte]))
                await trio.sleep(every)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        yield
        nursery.cancel_scope.cancel()


async def slow_reader(client: Client, size: int, every: float) -> int:
    """Takes so many bytes each so many seconds; returns how many there were until the end."""
    taken = 0
    try:
        while data := await client.stream.receive_some(size):
            taken += len(data)
            await trio.sleep(every)
    except trio.BrokenResourceError:
        pass
    return taken


@pytest.mark.parametrize(
    ("framing", "data"),
    [
        ("Content-Length: 1000", b"x" * 1000),
        ("Content-Length: 1000000", b"x" * 1000),
        (CHUNKED, b"ffff\r\n" + b"x" * 1000),
        (CHUNKED, b"1\r\nx\r\n" * 200),
        (CHUNKED, b"5;" + b"a" * 200 + b"\r\nhello\r\n0\r\n\r\n"),
        (CHUNKED, b"0\r\n" + b"X-Trailer: abc\r\n" * 30),
    ],
)
async def test_dripping_a_body_its_framing_or_its_trailers_does_not_extend_its_time(
    framing: str, data: bytes, autojump_clock: MockClock
) -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await client.send(get("/", framing, method="POST"))
        async with dripping(client, data, 1):
            response = await client.read_response()
        assert (response.status, response.header("connection")) == (408, "close")
        assert trio.current_time() == pytest.approx(30, abs=1)
        assert rig.failed == [0]


async def test_a_body_at_its_rate_takes_as_long_as_it_takes(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await client.send(get("/", CHUNKED, method="POST"))
        for _ in range(30):
            await client.send(scripts.chunk(b"x" * 240 * 20))
            await trio.sleep(20)
        await client.send(scripts.chunk(b""))
        assert (await client.read_response()).status == 200
        assert trio.current_time() == pytest.approx(600, abs=LATE)


async def test_each_body_begins_with_all_patience(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        for _ in range(4):
            await client.send(get("/", "Content-Length: 1", method="POST"))
            await trio.sleep(20)
            await client.send(b"x")
            assert (await client.read_response()).status == 200


async def test_a_client_is_not_to_blame_for_a_server_that_takes_its_body_slowly(
    autojump_clock: MockClock,
) -> None:
    async def sip(exchange: Exchange) -> None:
        while await exchange.receive():  # noqa: ASYNC110
            await trio.sleep(20)
        await exchange.respond(b"thanks")

    limits = Limits(min_rate=2000)
    async with open_rig(sip, capacity=16_384, limits=limits, timeout=100.0) as rig:
        async with rig.client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.send, post(b"x" * 200_000))
            assert (await client.read_response()).status == 200
        assert trio.current_time() > 100


async def cut(rig: Rig, client: Client, size: int, every: float) -> tuple[int, float]:
    """A slow reader's bytes, and when its request was over."""
    await client.send(get())
    taken = 0

    async def read() -> None:
        nonlocal taken
        taken = await slow_reader(client, size, every)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await rig.idle()
        ended = trio.current_time()
    assert (rig.records[0].status, rig.failed) == (200, [0])
    assert rig.records[0].ended is Ending.CLIENT_SLOW
    assert "too slow" in rig.records[0].reason
    return taken, ended


async def test_a_slow_reader_is_cut(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.bulk(SIZE)) as rig, rig.client() as client:
        taken, ended = await cut(rig, client, 100, 1)
        assert ended == pytest.approx(30 / (1 - 100 / 240), abs=2)
        assert taken < SIZE
        await rig.backends[0].wait_until(lambda backend: not backend.open_connections)


async def test_a_reader_at_its_rate_gets_it_all(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.bulk(SIZE)) as rig, rig.client() as client:
        await client.send(get())
        assert await slow_reader(client, 20 * 240, 19) > SIZE
        assert trio.current_time() > 3000
        assert rig.records[0].status == 200


async def test_a_reader_at_its_rate_is_known_where_room_comes_in_large_pieces(
    autojump_clock: MockClock,
) -> None:
    """As a kernel's does, which holds megabytes and wakes when a third of them is gone."""
    async with open_rig(scripts.bulk(SIZE)) as rig:
        rig.network.low_water = 20_000
        async with rig.client() as client:
            await client.send(get())
            assert await slow_reader(client, 20 * 240, 19) > SIZE


async def test_events_may_come_as_slowly_as_their_server_likes(autojump_clock: MockClock) -> None:
    async def events(exchange: Exchange) -> None:
        await exchange.send_head(200, [("Transfer-Encoding", "chunked")])
        for _ in range(50):
            await trio.sleep(25)
            await exchange.send(scripts.chunk(b"data: 1\n\n"))
        await exchange.send(scripts.chunk(b""))

    async with open_rig(events) as rig:
        response = await rig.ask(get())
        assert (len(response.body), response.complete) == (450, True)
        assert trio.current_time() == pytest.approx(1250, abs=LATE)


async def test_without_a_rate_a_drip_is_progress(autojump_clock: MockClock) -> None:
    limits = Limits(min_rate=None)
    async with open_rig(scripts.answer(), limits=limits) as rig, rig.client() as client:
        await client.send(get("/", "Content-Length: 20", method="POST"))
        async with dripping(client, b"x" * 20, 20):
            assert (await client.read_response()).status == 200
        assert trio.current_time() == pytest.approx(380, abs=LATE)


async def test_cut_clients_see_that_they_are(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.until_close(b"x" * SIZE)) as rig, rig.client() as client:
        await client.send(get(version="1.0"))
        await rig.idle()
        data, end = await client.read_until_close()
        assert len(data) < SIZE
        assert end is End.RESET
