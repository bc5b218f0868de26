"""A response that its server did not complete is never completed towards the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support import scripts
from tests.support.client import End
from tests.support.rig import get, open_bed, open_rig
from trio_lb.errors import End as Ending

if TYPE_CHECKING:
    from tests.support.backend import Exchange, Script

CHUNKS = [b"x" * 1000] * 20

SCRIPTS = [
    scripts.cut_body(b"x" * 20_000, 100_000, reset=False),
    scripts.cut_body(b"x" * 20_000, 100_000, reset=True),
    scripts.cut_body(b"", 100_000, reset=False),
    scripts.cut_chunked(CHUNKS, reset=False),
    scripts.cut_chunked(CHUNKS, reset=True),
    scripts.raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n",
        reset=False,
    ),
]


@pytest.mark.parametrize("kind", ["memory", "sockets"])
@pytest.mark.parametrize("script", SCRIPTS)
async def test_http_1_1_clients_miss_the_end(kind: str, script: Script) -> None:
    async with open_bed(kind, script) as bed:
        async with bed.client() as client:
            await client.send(get())
            response = await client.read_response()
        assert (response.status, response.complete) == (200, False)
        assert len(bed.backends[0].requests) == 1


@pytest.mark.parametrize("kind", ["memory", "sockets"])
@pytest.mark.parametrize("script", SCRIPTS[3:])
async def test_http_1_0_clients_are_reset(kind: str, script: Script) -> None:
    async with open_bed(kind, script) as bed, bed.client() as client:
        await client.send(get(version="1.0"))
        _, end = await client.read_until_close()
        assert end is End.RESET


@pytest.mark.parametrize("kind", ["memory", "sockets"])
async def test_a_response_that_ends_by_closing_and_is_reset(kind: str) -> None:
    script = scripts.raw(b"HTTP/1.1 200 OK\r\n\r\nhello", reset=True)
    async with open_bed(kind, script) as bed:
        async with bed.client() as client:
            await client.send(get())
            response = await client.read_response()
            assert not response.complete
        async with bed.client() as client:
            await client.send(get(version="1.0"))
            assert (await client.read_until_close())[1] is End.RESET


async def test_a_malformed_chunk_in_the_middle() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"

    async def script(exchange: Exchange) -> None:
        await exchange.send(data)
        await wait_all_tasks_blocked()
        await exchange.send(b"nonsense\r\n")
        await exchange.connection.receive()

    async with open_rig(script, scripts.answer()) as rig:
        response = await rig.ask(get())
        assert (response.body, response.complete) == (b"hello", False)
        await rig.idle()
        assert rig.failed == [1, 0]
        assert rig.records[0].reason == "the server closed the connection during its response"
        await rig.backends[0].wait_until(lambda backend: not backend.open_connections)


async def test_an_upload_that_fails_during_its_answer_gets_no_second_answer() -> None:
    async with open_rig(scripts.echo()) as rig, rig.client() as client:
        await client.send(get("/", "Transfer-Encoding: chunked", method="POST"))
        await client.send(scripts.chunk(b"hello"))
        received = b""
        while b"hello" not in received:
            received += await client.stream.receive_some()
        await client.send(b"nonsense\r\n")
        rest, _ = await client.read_until_close()
        assert rest == b"\r\n" * (not received.endswith(b"\r\n"))
        await rig.idle()
        assert (rig.records[0].status, rig.records[0].ended) == (200, Ending.REFUSED)
        assert rig.failed == [0]


async def test_a_server_that_begins_an_answer_is_not_taken_out_for_not_ending_it() -> None:
    async with open_rig(SCRIPTS[0], scripts.answer()) as rig:
        for _ in range(10):
            await rig.ask(get())
        await rig.idle()
        assert rig.failed == [5, 0]
        assert rig.states == ["alive", "alive"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_being_stopped_in_the_middle_of_a_response(version: str) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.send_head(200)
        await exchange.send(b"hello")
        await trio.sleep_forever()

    async with open_rig(endless) as rig, rig.client() as client:
        await client.send(get(version=version))
        received = b""
        while b"hello" not in received:
            received += await client.stream.receive_some()
        rig.clients.cancel_scope.cancel()
        rest, end = await client.read_until_close()
        assert b"0\r\n\r\n" not in rest
        assert end is (End.RESET if version == "1.0" else End.EOF)
