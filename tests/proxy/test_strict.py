"""What one side may not send: answered, and never passed on to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.client import End
from tests.support.rig import get, open_rig

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.backend import Exchange, Script

CHUNKED = "Transfer-Encoding: chunked"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"


def raw(data: bytes) -> Script:
    """Exactly these bytes for the first request; the connection is kept."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(data)

    return scripts.in_turn(script, scripts.answer(b"good"))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(OK + b"X: a\rSet-Cookie: b\r\n\r\n", id="bare CR"),
        pytest.param(OK + b"X: a\0\r\n\r\n", id="NUL"),
        pytest.param(OK + b"X : a\r\n\r\n", id="space before a colon"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="two framings"),
        pytest.param(OK + b"Content-Length: 1\r\n\r\na", id="two lengths"),
        pytest.param(b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n", id="101 unasked"),
        pytest.param(b"HTTP/1.1 600 x\r\nContent-Length: 0\r\n\r\n", id="status 600"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", id="another protocol"),
    ],
)
async def test_a_broken_response_is_a_502_and_its_connection_is_closed(data: bytes) -> None:
    async with open_rig(raw(data), retries=0) as rig, rig.client() as client:
        await client.send(get("/broken", method="POST") + get())
        assert (await client.read_response()).status == 502
        assert (await client.read_response()).body == b"good"
        assert len(rig.backends[0].connections) == 2


async def test_bytes_behind_a_response_are_read_by_nobody() -> None:
    stolen = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
    async with open_rig(raw(OK + b"\r\n" + stolen)) as rig, rig.client() as client:
        await client.send(get() + get())
        assert (await client.read_response()).body == b""
        assert (await client.read_response()).body == b"good"
        assert len(rig.backends[0].connections) == 2


@pytest.mark.parametrize("length", ["Content-Length: 5000", CHUNKED])
async def test_an_early_answer_of_a_server_that_reads_no_more_is_passed_on_at_once(
    length: str, autojump_clock: MockClock
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.respond(b"too large", 413)
        await trio.sleep_forever()

    body = b"1388\r\n" + bytes(5000) + b"\r\n0\r\n\r\n" if length == CHUNKED else bytes(5000)
    script = scripts.in_turn(refuse, scripts.answer(b"good"))
    async with open_rig(script, capacity=2000) as rig, rig.client() as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, get("/", length, method="PUT") + body)
            response = await client.read_response()
        assert (response.status, response.body) == (413, b"too large")
        assert trio.current_time() < 1
        assert rig.failed == [0]
        # The server's connection, on which a part of the body is missing, serves nobody else.
        if length != CHUNKED:
            await client.send(get())
            assert (await client.read_response()).body == b"good"
            assert len(rig.backends[0].connections) == 2


async def test_a_malformed_chunk_behind_a_good_one_reaches_no_server() -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await client.send(get("/", CHUNKED, method="POST") + b"1\r\na\r\n1 \r\nb\r\n0\r\n\r\n")
        await client.send(get("/never"))
        await client.finish()
        assert (await client.read_response()).status == 400
        assert await client.read_until_close() == (b"", End.EOF)
        assert not any(request.complete for request in rig.backends[0].requests)


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 200), ("TRACE", 501)])
async def test_max_forwards_of_nothing_reaches_no_server(method: str, status: int) -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await client.send(get("/", "Max-Forwards: 0", "Secret: x", method=method))
        await client.finish()
        response = await client.read_response()
        assert response.status == status
        assert b"Secret" not in response.body
        assert rig.backends[0].requests == []
        assert rig.records[-1].status == status


async def test_an_empty_line_between_requests_is_no_request() -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await client.send(get() + b"\r\n")
        assert (await client.read_response()).status == 200
        await client.send(get())
        assert (await client.read_response()).status == 200
        await client.send(b"\r\n")
        await client.finish()
        assert await client.read_until_close() == (b"", End.EOF)
        assert len(rig.records) == 2


async def test_a_malformed_head_request_has_no_body_in_its_answer() -> None:
    async with open_rig(scripts.answer()) as rig, rig.client() as client:
        await client.send(b"HEAD / HTTP/1.1\r\nHost : a\r\n\r\n")
        await client.finish()
        assert (await client.read_response("HEAD")).status == 400
        assert await client.read_until_close() == (b"", End.EOF)
        assert rig.records[-1].status == 400
