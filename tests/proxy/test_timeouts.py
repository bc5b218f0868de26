"""Every timeout and its answer, on Trio's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.client import End
from tests.support.rig import get, open_rig, post
from trio_lb.config import Limits, Timeouts
from trio_lb.errors import End as Ending

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.backend import Exchange

#: A deadline is noticed at the watcher's next look.
LATE = 0.3

CHUNKED = "Transfer-Encoding: chunked"

ANY_RATE = Limits(min_rate=None)


async def test_a_client_that_says_nothing_is_closed_silently(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, rig.client() as client:
        assert await client.read_until_close() == (b"", End.EOF)
        assert trio.current_time() == pytest.approx(10, abs=LATE)
        assert rig.records == []


async def test_half_a_head_is_a_408(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, rig.client() as client:
        await trio.sleep(5)
        await client.send(b"GET / HTTP/1.1\r\n")
        response = await client.read_response()
        assert (response.status, response.header("connection")) == (408, "close")
        assert trio.current_time() == pytest.approx(15, abs=LATE)  # from the first byte
        assert await client.read_until_close() == (b"", End.EOF)
        assert [(record.status, record.head) for record in rig.records] == [(408, None)]


async def test_dripping_a_head_does_not_extend_its_time(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, rig.client() as client, trio.open_nursery() as nursery:

        async def drip() -> None:
            for byte in get() + b"x" * 1000:
                await trio.sleep(1)
                await client.send(bytes([byte]))

        nursery.start_soon(drip)
        assert (await client.read_response()).status == 408
        assert trio.current_time() == pytest.approx(11, abs=LATE)
        nursery.cancel_scope.cancel()


async def test_a_head_in_time_is_served_however_slow(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        for part in (get()[:10], get()[10:]):
            await trio.sleep(9)
            await client.send(part)
        assert (await client.read_response()).status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Content-Length: 1000000", CHUNKED])
async def test_a_body_that_stalls_is_a_408(framing: str, autojump_clock: MockClock) -> None:
    scripted = (scripts.answer(), scripts.answer())
    async with open_rig(*scripted, limits=ANY_RATE) as rig, rig.client() as client:
        await client.send(get("/", framing, method="POST"))
        await trio.sleep(20)
        await client.send(b"5\r\nabcde\r\n")  # progress: the time begins anew
        response = await client.read_response()
        assert (response.status, response.header("connection")) == (408, "close")
        assert trio.current_time() == pytest.approx(50, abs=LATE)
        assert rig.failed == [0, 0]
        await rig.backends[0].wait_until(lambda backend: not backend.open_connections)


async def test_a_small_body_that_stalls_occupies_no_server(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await client.send(get("/", "Content-Length: 100", method="POST"))
        await trio.sleep(20)
        assert rig.servers.snapshot()[0].active == 0
        assert not rig.network.dialled


async def test_the_time_to_answer_begins_with_the_end_of_the_request(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(scripts.hang(), limits=ANY_RATE) as rig, rig.client() as client:
        await client.send(get("/", CHUNKED, method="POST"))
        for _ in range(5):
            await client.send(scripts.chunk(b"more"))
            await trio.sleep(20)
        await client.send(scripts.chunk(b""))
        assert (await client.read_response()).status == 504
        assert trio.current_time() == pytest.approx(110, abs=LATE)


async def test_dripping_a_response_head_does_not_extend_its_time(
    autojump_clock: MockClock,
) -> None:
    async def drip(exchange: Exchange) -> None:
        for _ in range(1000):
            await exchange.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await trio.sleep(0.7)

    async with open_rig(drip) as rig:
        response = await rig.ask(post(b"x"))
        assert response.status == 504
        assert trio.current_time() == pytest.approx(10, abs=LATE)


async def test_a_slow_answer_in_time_is_passed_on(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.delayed(9.5, scripts.answer())) as rig:
        assert (await rig.ask(get())).status == 200
        [counters] = rig.servers.snapshot()
        assert counters.response_time_s == pytest.approx(9.5, abs=LATE)


async def test_a_response_that_stalls_is_cut(autojump_clock: MockClock) -> None:
    async def stall(exchange: Exchange) -> None:
        await exchange.send_head(200, [("Content-Length", "10")])
        await exchange.send(b"abc")
        await trio.sleep(25)
        await exchange.send(b"d")
        await trio.sleep_forever()

    async with open_rig(stall, scripts.answer()) as rig:
        response = await rig.ask(get())
        assert (response.status, response.body, response.complete) == (200, b"abcd", False)
        assert trio.current_time() == pytest.approx(55, abs=LATE)
        assert rig.failed == [1, 0]


async def test_a_client_that_reads_nothing_is_cut(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.bulk(1_000_000)) as rig, rig.client() as client:
        await client.send(get())
        await rig.idle()
        assert trio.current_time() == pytest.approx(30, abs=LATE)
        await rig.backends[0].wait_until(lambda backend: not backend.open_connections)
        assert (rig.records[0].status, rig.failed) == (200, [0])
        assert rig.records[0].ended is Ending.CLIENT_SLOW
        assert not (await client.read_response()).complete


@pytest.mark.parametrize("body", [30.0, 5.0])
async def test_an_http_1_0_client_that_reads_nothing_is_not_told_that_it_has_all(
    body: float, autojump_clock: MockClock
) -> None:
    script = scripts.until_close(b"x" * 1_000_000)
    async with open_rig(script, timeouts=Timeouts(body=body)) as rig, rig.client() as client:
        await client.send(get(version="1.0"))
        await rig.idle()
        assert trio.current_time() == pytest.approx(body, abs=LATE)
        data, end = await client.read_until_close()
        assert len(data) < 1_000_000
        assert end is End.RESET


async def test_a_server_that_reads_nothing(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.hang(reads=False)) as rig, rig.client() as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, post(b"x" * 1_000_000))
            assert (await client.read_response()).status == 504
            nursery.cancel_scope.cancel()
        # No progress for 30 s; then it may still have an answer, for 10 s.
        assert trio.current_time() == pytest.approx(40, abs=LATE)
        assert rig.failed == [1]


async def test_an_idle_client_is_closed_silently(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        for _ in range(2):
            await trio.sleep(9)
            await client.send(get())
            await client.read_response()
        assert await client.read_until_close() == (b"", End.EOF)
        assert trio.current_time() == pytest.approx(18 + 60, abs=LATE)
        assert len(rig.records) == 2


async def test_keep_alive_of_0_closes_after_each_answer(autojump_clock: MockClock) -> None:
    timeouts = Timeouts(keep_alive=0)
    async with open_rig(scripts.answer(), timeouts=timeouts) as rig, rig.client() as client:
        await client.send(get())
        assert (await client.read_response()).status == 200
        assert await client.read_until_close() == (b"", End.EOF)
        assert trio.current_time() < LATE


async def test_a_client_that_keeps_sending_after_its_answer_is_let_go(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(scripts.early_answer(lingers=False)) as rig, rig.client() as client:
        await client.send(get("/", CHUNKED, method="POST"))
        assert (await client.read_response()).status == 413

        async def talk_on() -> None:
            while True:
                await client.send(scripts.chunk(b"still there"))
                await trio.sleep(1)

        with pytest.raises(trio.BrokenResourceError):
            await talk_on()
        assert trio.current_time() == pytest.approx(21, abs=2)
