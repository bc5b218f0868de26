"""Answers that come early, are no HTTP, never end, or are too many (RELIABILITY rows 8, 9, 35)."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import besides_checks, open_balancer
from tests.support.client import End, Response, open_client, request
from tests.support.process import process_usage

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.backend import Exchange

MEBIBYTE = 1 << 20
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def upload(url: str, head: bytes, piece: bytes) -> Response:
    """Sends `piece` 160 times, and reads the response meanwhile, up to the end (by FIN)."""
    responses: list[Response] = []
    async with open_client(url) as client, trio.open_nursery() as nursery:

        async def read() -> None:
            responses.append(await client.read_response("POST"))
            assert (await client.read_until_close())[1] is End.EOF
            nursery.cancel_scope.cancel()

        nursery.start_soon(read)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n")
        for _ in range(160):
            await client.send(piece)
            await trio.lowlevel.checkpoint()
    return responses[0]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("lingers", [True, False])
async def test_row_8_an_early_answer_reaches_a_client_that_uploads(
    framing: str, lingers: bool
) -> None:
    """10 MB, ten times: the client reads a whole 413, and then the end.

    Where the server resets at once, its own answer may be lost before we have it: then it is 502.
    """
    piece = b"x" * 65536
    head, body = b"Content-Length: %d" % (160 * len(piece)), piece
    if framing == "chunked":
        head, body = b"Transfer-Encoding: chunked", scripts.chunk(piece)
    script = besides_checks(scripts.early_answer(413, b"too large", lingers=lingers))
    async with open_backend(script) as backend, open_balancer(backend.url) as balancer:
        for _ in range(10):
            response = await upload(balancer.addresses[0], head, body)
            assert response.complete
            assert response.header("connection") == "close"
            assert response.status == 413 or (response.status == 502 and not lingers)
            if response.status == 413:
                assert response.body == b"too large"
        assert balancer.statistics().total_active == 0
        await backend.wait_until(lambda backend: not backend.open_connections)


async def test_row_8_what_a_server_does_not_take_is_not_collected(
    autojump_clock: MockClock,
) -> None:
    """A client with 64 MB to send is held back by a server that takes nothing."""
    async with (
        open_backend(besides_checks(scripts.hang(reads=False))) as backend,
        open_balancer(backend.url, timeouts={"body": "5s"}) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n")
        before = process_usage().rss_bytes
        sent = 0
        with trio.move_on_after(4):
            while True:
                await client.send(bytes(65536))
                sent += 65536
        assert sent < 32 * MEBIBYTE, "it was swallowed"
        assert process_usage().rss_bytes - before < 2 * MEBIBYTE
        response = await client.read_response("POST")
        assert (response.status, response.complete) == (504, True)


async def endless_interim(exchange: Exchange) -> None:
    """1xx heads for ever, as fast as they are taken."""
    await exchange.read_body()
    while True:
        await exchange.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 2000)


NO_ANSWERS = {
    "garbage": scripts.garbage_head(),
    "endless head": scripts.endless_head(),
    "endless interim responses": endless_interim,
    "a field of 1 MB": scripts.raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MEBIBYTE, reset=False),
    "an endless line": scripts.raw(b"H" * MEBIBYTE, reset=False),
    "another protocol": scripts.raw(b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n", reset=False),
    "a bad status": scripts.raw(b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", reset=False),
    "status 99": scripts.raw(b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", reset=False),
    "two lengths": scripts.raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", reset=False
    ),
    "a negative length": scripts.raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab", reset=False
    ),
    "a line break in a field": scripts.raw(
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n", reset=False
    ),
    "an unknown coding": scripts.raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", reset=False
    ),
    "switching unasked": scripts.raw(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        reset=False,
    ),
    "nothing": scripts.raw(b"", reset=False),
}


@pytest.mark.parametrize("what", NO_ANSWERS)
async def test_row_9_an_answer_that_is_none(what: str) -> None:
    script = besides_checks(scripts.in_turn(NO_ANSWERS[what], scripts.answer(b"good")))
    async with (
        open_backend(script) as backend,
        open_balancer(backend.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(GET)
        response = await client.read_response()
        assert (response.status, response.complete) == (502, True)
        with trio.fail_after(5):
            await backend.wait_until(lambda backend: not backend.open_connections)
        await client.send(GET)
        assert (await client.read_response()).body == b"good"
        (server,) = balancer.statistics().servers
        assert (server.failed, server.served, server.active) == (1, 1, 0)


@pytest.mark.parametrize("what", ["endless head", "endless interim responses", "a field of 1 MB"])
async def test_row_9_what_never_ends_is_not_collected(what: str) -> None:
    """30 of them, one after the other and all at once."""
    script = besides_checks(NO_ANSWERS[what])
    async with open_backend(script) as backend, open_balancer(backend.url) as balancer:
        for _ in range(5):
            await request(balancer.addresses[0])
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(10):
                assert (await request(balancer.addresses[0])).status == 502
            await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(request, balancer.addresses[0])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < MEBIBYTE
        assert peak - before < 20 * MEBIBYTE  # with 20 clients and servers in this process, too


POISONS = {
    "an over-long body": scripts.overlong(b"mine", b" and POISON"),
    "a second response": scripts.overlong(
        b"mine", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"
    ),
    "behind the last chunk": scripts.raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\nPOISON",
        reset=False,
    ),
}


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("what", POISONS)
async def test_row_35_no_byte_too_many_reaches_another_request(what: str, method: bytes) -> None:
    """100 times poison, and others between."""

    async def script(exchange: Exchange) -> None:
        if exchange.request.target == "/poison":
            await POISONS[what](exchange)
        else:
            await scripts.answer(exchange.request.target.encode())(exchange)

    async with (
        open_backend(besides_checks(script)) as backend,
        open_balancer(backend.url) as balancer,
        open_client(balancer.addresses[0]) as victim,
        open_client(balancer.addresses[0]) as other,
    ):
        for number in range(100):
            await other.send(b"%b /poison HTTP/1.1\r\nHost: a\r\n\r\n" % method)
            assert (await other.read_response()).body == b"mine"
            await victim.send(b"%b /%d HTTP/1.1\r\nHost: a\r\n\r\n" % (method, number))
            response = await victim.read_response()
            assert (response.status, response.body) == (200, b"/%d" % number)
        assert balancer.statistics().servers[0].state == "alive"
        poisoned = [c for c in backend.connections if c.requests[0].target == "/poison"]
        assert {len(connection.requests) for connection in poisoned} == {1}


@pytest.mark.parametrize("poison", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"])
async def test_row_35_bytes_on_an_idle_connection(poison: bytes, autojump_clock: MockClock) -> None:
    """They come a while after the answer, when the connection is back in the pool."""

    async def script(exchange: Exchange) -> None:
        await exchange.respond(b"mine")
        await trio.sleep(0.1)
        await exchange.send(poison)

    async with open_backend(besides_checks(script)) as backend:
        async with open_balancer(backend.url) as balancer:
            for _ in range(50):
                for method in ("GET", "POST"):
                    response = await request(balancer.addresses[0], method)
                    assert (response.status, response.body) == (200, b"mine")
                    await trio.sleep(0.2)
        assert {len(connection.requests) for connection in backend.connections} == {1}


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404)]
)
async def test_row_35_a_body_where_none_may_be(method: str, status: int) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 %d X\r\nContent-Length: 6\r\n\r\nPOISON" % status)

    async with (
        open_backend(besides_checks(scripts.in_turn(script, scripts.answer(b"mine")))) as backend,
        open_balancer(backend.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(method.encode() + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        response = await client.read_response(method)
        assert (response.status, response.body) == (status, b"")
        await client.send(GET)
        assert (await client.read_response()).body == b"mine"
        assert len([c for c in backend.connections if len(c.requests) > 1]) == 0


async def test_row_35_an_answer_from_before_the_whole_request() -> None:
    """Complete before the upload was: the connection is of no use to anybody else."""
    script = scripts.in_turn(_answer_at_once, scripts.answer(b"mine"))
    async with open_backend(besides_checks(script)) as backend, open_balancer(backend.url) as lb:
        async with open_client(lb.addresses[0]) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx")
            assert (await client.read_response("POST")).body == b"early"
        assert (await request(lb.addresses[0])).body == b"mine"
        assert {len(connection.requests) for connection in backend.connections} == {1}


async def _answer_at_once(exchange: Exchange) -> None:
    await exchange.respond(b"early")
