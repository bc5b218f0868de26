"""Bodies of any size, in the memory of a few buffers."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.memory import CAPACITY
from tests.support.rig import get, open_bed, open_rig, open_socket_bed, post

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.backend import Exchange
    from tests.support.client import Client, Response

pytestmark = pytest.mark.usefixtures("both_codecs")

CHUNKED = "Transfer-Encoding: chunked"
LARGE = 10_000_000

#: What may be under way in a direction: two transports and what was read from one of them.
IN_FLIGHT = 4 * CAPACITY


async def upload(client: Client, size: int) -> Response:
    """Sends a large body and reads the answer only afterwards, as simple clients do."""
    await client.send(get("/", f"Content-Length: {size}", method="POST"))
    for _ in range(size // 100_000):
        await client.send(bytes(100_000))
    return await client.read_response()


async def test_a_client_that_does_not_read_pauses_the_server(autojump_clock: MockClock) -> None:
    sent = 0

    async def script(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send_head(200, [("Content-Length", str(LARGE))])
        for _ in range(LARGE // 10_000):
            await exchange.send(bytes(10_000))
            sent += 10_000

    async with open_rig(script) as rig, rig.client() as client:
        await client.send(get())
        await trio.sleep(10)
        assert 0 < sent <= IN_FLIGHT
        response = await client.read_response()
        assert (response.complete, len(response.body)) == (True, LARGE)


@pytest.mark.parametrize("framing", [f"Content-Length: {LARGE}", CHUNKED])
async def test_a_server_that_does_not_read_pauses_the_client(
    framing: str, autojump_clock: MockClock
) -> None:
    sent = 0
    read_on = trio.Event()

    async def script(exchange: Exchange) -> None:
        await read_on.wait()
        await exchange.read_body()
        await exchange.respond(b"%d" % exchange.request.body_size)

    async with open_rig(script) as rig, rig.client() as client, trio.open_nursery() as nursery:

        async def send_all() -> None:
            nonlocal sent
            await client.send(get("/", framing, method="POST"))
            for _ in range(LARGE // 10_000):
                piece = bytes(10_000)
                await client.send(scripts.chunk(piece) if framing is CHUNKED else piece)
                sent += 10_000
            if framing is CHUNKED:
                await client.send(scripts.chunk(b""))

        nursery.start_soon(send_all)
        await trio.sleep(10)
        assert 0 < sent <= IN_FLIGHT
        read_on.set()
        assert (await client.read_response()).body == b"%d" % LARGE


@pytest.mark.parametrize("kind", ["memory", "sockets"])
@pytest.mark.parametrize("lingers", [True, False])
async def test_an_early_413_reaches_a_client_that_first_sends_everything(
    kind: str, lingers: bool
) -> None:
    script = scripts.early_answer(413, b"too large" * 1000, lingers=lingers)
    async with open_bed(kind, script) as bed, bed.client() as client:
        response = await upload(client, LARGE)
        assert (response.status, response.body) == (413, b"too large" * 1000)
        assert response.header("connection") == "close"
        assert await client.read_until_close() == (b"", "cut by EOF")
        assert bed.backends[0].requests[0].body_size < LARGE


@pytest.mark.parametrize("kind", ["memory", "sockets"])
async def test_a_client_is_told_at_once_that_an_early_answer_was_all(
    kind: str, autojump_clock: MockClock
) -> None:
    script = scripts.early_answer(403, b"go away")
    async with open_bed(kind, script) as bed, bed.client() as client:
        await client.send(get("/", CHUNKED, method="POST") + scripts.chunk(bytes(1000)))
        assert (await client.read_response()).status == 403
        assert await client.stream.receive_some() == b""
        assert trio.current_time() < 1  # lingering takes longer, but says it first


@pytest.mark.parametrize("kind", ["memory", "sockets"])
async def test_large_bodies_arrive_whole_in_both_directions(kind: str) -> None:
    body = bytes(range(256)) * 8000

    async with (
        open_bed(kind, scripts.echo()) as bed,
        bed.client() as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(client.send, post(body))
        response = await client.read_response()
        assert response.body == body


@pytest.mark.parametrize("kind", ["memory", "sockets"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_large_responses_without_a_length(kind: str, version: str) -> None:
    body = bytes(range(256)) * 8000
    async with open_bed(kind, scripts.until_close(body)) as bed, bed.client() as client:
        await client.send(get(version=version))
        assert (await client.read_response()).body == body


async def test_a_gibibyte_flows_through_in_constant_memory() -> None:
    size = 1 << 30
    async with open_socket_bed(scripts.bulk(size)) as bed, bed.client() as client:
        await client.send(get())
        received, before = 0, 0
        while received < size:
            received += len(await client.stream.receive_some(1 << 18))
            if not before and received > 1 << 24:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 8 * 1024  # KiB


async def test_a_fast_stream_leaves_others_their_turn() -> None:
    size = 1 << 28
    answers = 0
    async with (
        open_socket_bed(scripts.bulk(size), scripts.answer()) as bed,
        bed.client() as greedy,
        bed.client() as modest,
        trio.open_nursery() as nursery,
    ):
        await greedy.send(get())
        left = size - len(await greedy.stream.receive_some())

        async def ask_again_and_again() -> None:
            nonlocal answers
            bed.backends[0].script = scripts.answer()
            while True:
                await modest.send(get())
                assert (await modest.read_response()).status == 200
                answers += 1

        nursery.start_soon(ask_again_and_again)
        while left > 0:
            left -= len(await greedy.stream.receive_some(1 << 18))
        nursery.cancel_scope.cancel()
    assert answers > 20
