"""Where messages begin and end: bodies, interim responses, old clients, pipelining."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support import scripts
from tests.support.backend import Exchange, Script, head
from tests.support.client import End
from tests.support.rig import get, open_bed, post

pytestmark = pytest.mark.parametrize("kind", ["memory", "sockets"])

CHUNKED = "Transfer-Encoding: chunked"


def raw(data: bytes) -> Script:
    """Exactly these bytes for every request; the connection is kept."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(data)

    return script


async def test_head_has_the_fields_of_get_and_no_body(kind: str) -> None:
    async with open_bed(kind, scripts.answer(b"hello")) as bed, bed.client() as client:
        await client.send(get(method="HEAD") + get())
        response = await client.read_response("HEAD")
        assert (response.status, response.header("content-length")) == (200, "5")
        assert (await client.read_response()).body == b"hello"
        assert [request.method for request in bed.backends[0].requests] == ["HEAD", "GET"]
        assert len(bed.backends[0].connections) == 1


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("length", [None, "7"])
async def test_statuses_without_a_body(kind: str, status: int, length: str | None) -> None:
    fields = [("ETag", '"x"')] + ([("Content-Length", length)] if length else [])
    async with open_bed(kind, raw(head(status, fields))) as bed, bed.client() as client:
        await client.send(get() + get())
        for _ in range(2):
            response = await client.read_response()
            assert (response.status, response.header("etag")) == (status, '"x"')
            assert response.header("transfer-encoding") is None
            # RFC 9110 section 8.6: a 204 says no length, a 304 that of the whole.
            assert response.header("content-length") == (length if status == 304 else None)
        assert len(bed.backends[0].connections) == 1


async def test_empty_and_missing_bodies(kind: str) -> None:
    async with open_bed(kind, scripts.answer(b"")) as bed, bed.client() as client:
        await client.send(post(b"") + get(method="POST") + get())
        for _ in range(3):
            response = await client.read_response()
            assert (response.header("content-length"), response.body) == ("0", b"")
        lengths = [request.header("content-length") for request in bed.backends[0].requests]
        assert lengths == ["0", None, None]


async def test_a_chunked_request_with_trailers(kind: str) -> None:
    async with open_bed(kind, scripts.answer()) as bed, bed.client() as client:
        chunks = b"5;ext=1\r\nhello\r\n" + scripts.chunk(b" world")
        trailers = [("X-Sum", "1"), ("X-Forwarded-For", "6.6.6.6"), ("Content-Length", "1")]
        await client.send(get("/", CHUNKED, method="POST") + chunks + scripts.last_chunk(trailers))
        assert (await client.read_response()).status == 200
        [request] = bed.backends[0].requests
    assert request.body == b"hello world"
    assert request.header("transfer-encoding") == "chunked"
    assert request.header("content-length") is None
    assert list(request.trailers) == [("x-sum", "1")]


async def test_a_chunked_response_with_trailers(kind: str) -> None:
    script = scripts.chunked([b"hello", b" ", b"world"], [("X-Sum", "1"), ("Host", "x")])
    async with open_bed(kind, script) as bed, bed.client() as client:
        await client.send(get("/", "TE: trailers", "Connection: TE") + get())
        for _ in range(2):
            response = await client.read_response()
            assert (response.body, response.trailers) == (b"hello world", (("x-sum", "1"),))
            assert response.header("transfer-encoding") == "chunked"
        assert [request.header("te") for request in bed.backends[0].requests] == ["trailers", None]
        assert len(bed.backends[0].connections) == 1


async def test_pieces_of_a_stream_are_passed_on_as_they_come(kind: str) -> None:
    go_on = trio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.send_head(200, [scripts.CHUNKED])
        await exchange.send(scripts.chunk(b"data: 1\n\n"))
        await go_on.wait()
        await exchange.send(scripts.chunk(b"data: 2\n\n") + scripts.chunk(b""))

    async with open_bed(kind, script) as bed, bed.client() as client:
        await client.send(get())
        received = b""
        while not received.endswith(b"data: 1\n\n\r\n"):
            received += await client.stream.receive_some()
        go_on.set()
        while not received.endswith(b"0\r\n\r\n"):
            received += await client.stream.receive_some()


async def test_a_body_may_go_both_ways_at_once(kind: str) -> None:
    async with open_bed(kind, scripts.echo()) as bed, bed.client() as client:
        await client.send(get("/", CHUNKED, method="POST"))
        received = b""
        for turn in range(5):
            await client.send(scripts.chunk(b"turn %d" % turn))
            while not received.endswith(b"turn %d\r\n" % turn):
                received += await client.stream.receive_some()
        await client.send(scripts.last_chunk([]))
        while not received.endswith(b"0\r\n\r\n"):
            received += await client.stream.receive_some()


async def test_an_answer_that_begins_before_the_request_has_ended_is_the_last(kind: str) -> None:
    async with open_bed(kind, scripts.echo()) as bed, bed.client() as client:
        await client.send(get("/", CHUNKED, method="POST") + scripts.chunk(b"one"))
        await bed.backends[0].wait_until(lambda backend: bool(backend.requests))
        async with trio.open_nursery() as nursery:

            async def send_rest() -> None:
                await wait_all_tasks_blocked()
                await client.send(scripts.chunk(b"two") + scripts.chunk(b"") + get())

            nursery.start_soon(send_rest)
            response = await client.read_response()
        assert (response.body, response.header("connection")) == (b"onetwo", "close")
        assert await client.stream.receive_some() == b""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_response_that_ends_by_closing_becomes_chunked(kind: str, version: str) -> None:
    script = scripts.until_close(b"some text", version)
    async with open_bed(kind, script) as bed, bed.client() as client:
        await client.send(get() + get())
        for _ in range(2):
            response = await client.read_response()
            assert (response.complete, response.body) == (True, b"some text")
            assert response.header("transfer-encoding") == "chunked"
            assert response.header("via") == f"{version} trio-lb"
        assert len(bed.backends[0].connections) == 2


@pytest.mark.parametrize(
    "script",
    [
        scripts.answer(b"some text"),
        scripts.chunked([b"some ", b"text"], [("X", "y")]),
        scripts.until_close(b"some text"),
    ],
)
async def test_an_http_1_0_client_gets_plain_bytes_and_the_end(kind: str, script: Script) -> None:
    async with open_bed(kind, script) as bed, bed.client() as client:
        await client.send(b"GET /old HTTP/1.0\r\n\r\n")
        data, end = await client.read_until_close()
        [request] = bed.backends[0].requests
    top, _, body = data.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"chunked" not in top.lower()
    assert b"\r\nConnection: close" in top
    assert (body, end) == (b"some text", End.EOF)
    assert request.http_version == "1.1"
    assert request.header("host") == bed.backends[0].address
    assert request.header("x-forwarded-host") is None
    assert request.header("via") == "1.0 trio-lb"


async def test_an_http_1_0_client_may_send_a_body(kind: str) -> None:
    async with open_bed(kind, scripts.echo()) as bed, bed.client() as client:
        await client.send(b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
        data, _ = await client.read_until_close()
    assert data.endswith(b"\r\n\r\nhello")


async def test_interim_responses_are_passed_on(kind: str) -> None:
    script = scripts.informational(
        103, [("Link", "</style.css>")], scripts.informational(102, [], scripts.answer())
    )
    async with open_bed(kind, script) as bed, bed.client() as client:
        await client.send(get())
        response = await client.read_response()
        assert (response.informational, response.body) == ((103, 102), b"ok")
        await client.send(get(version="1.0"))
        data, _ = await client.read_until_close()
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_100_nobody_asked_for_is_not_passed_on(kind: str) -> None:
    script = scripts.informational(100, [], scripts.answer())
    async with open_bed(kind, script) as bed, bed.client() as client:
        await client.send(get() + post(b"x"))
        assert (await client.read_response()).informational == ()
        assert (await client.read_response()).informational == ()


EXPECTING = get("/", "Content-Length: 5", "Expect: 100-continue", method="POST")


async def test_the_server_says_when_to_continue(kind: str) -> None:
    async with open_bed(kind, scripts.answer()) as bed, bed.client() as client:
        for _ in range(2):
            await client.send(EXPECTING)
            assert await client.stream.receive_some() == (
                b"HTTP/1.1 100 Continue\r\nVia: 1.1 trio-lb\r\n\r\n"
            )
            await client.send(b"hello")
            assert (await client.read_response()).status == 200
        assert [request.body for request in bed.backends[0].requests] == [b"hello"] * 2
        assert bed.backends[0].requests[0].header("expect") == "100-continue"
        assert len(bed.backends[0].connections) == 1


@pytest.mark.parametrize("status", [413, 417])
async def test_the_server_refuses_before_the_body(kind: str, status: int) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.respond(b"no", status)

    async with open_bed(kind, refuse) as bed, bed.client() as client:
        await client.send(EXPECTING)
        response = await client.read_response()
        assert (response.status, response.body, response.informational) == (status, b"no", ())
        assert response.header("connection") == "close"
        assert await client.stream.receive_some() == b""
        assert bed.backends[0].requests[0].body == b""


async def test_who_does_not_wait_for_100_gets_it_all_the_same(kind: str) -> None:
    async with open_bed(kind, scripts.echo()) as bed, bed.client() as client:
        await client.send(EXPECTING + b"hello" + get())
        response = await client.read_response()
        assert response.body == b"hello"
        assert (await client.read_response()).status == 200


async def test_http_1_0_clients_expect_nothing(kind: str) -> None:
    async with open_bed(kind, scripts.answer()) as bed, bed.client() as client:
        await client.send(EXPECTING.replace(b"HTTP/1.1", b"HTTP/1.0") + b"hello")
        data, _ = await client.read_until_close()
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert bed.backends[0].requests[0].header("expect") is None


async def test_pipelined_requests_are_answered_in_their_order(kind: str) -> None:
    async def name(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.respond(exchange.request.target.encode())

    async with open_bed(kind, name) as bed, bed.client() as client:
        await client.send(b"".join(get(f"/{n}") for n in range(100)))
        for n in range(100):
            assert (await client.read_response()).body == b"/%d" % n


async def test_pipelined_behind_bodies(kind: str) -> None:
    async def repeat(exchange: Exchange) -> None:
        await exchange.respond(await exchange.read_body())

    async with open_bed(kind, repeat) as bed, bed.client() as client:
        chunked = get("/", CHUNKED, method="POST") + scripts.chunk(b"two") + scripts.chunk(b"")
        await client.send(post(b"one") + chunked + get() + post(b"four" * 50_000) + post(b"five"))
        bodies = [(await client.read_response()).body for _ in range(5)]
    assert bodies == [b"one", b"two", b"", b"four" * 50_000, b"five"]


async def test_connection_close_of_the_client_is_obeyed(kind: str) -> None:
    async with open_bed(kind, scripts.answer()) as bed, bed.client() as client:
        await client.send(get() + get("/", "Connection: Close") + get("/never"))
        assert (await client.read_response()).header("connection") is None
        assert (await client.read_response()).header("connection") == "close"
        assert len(bed.backends[0].requests) == 2


async def test_an_offer_of_h2c_is_dropped_and_costs_no_connection(kind: str) -> None:
    async with open_bed(kind, scripts.answer()) as bed, bed.client() as client:
        await client.send(get("/", "Connection: Upgrade", "Upgrade: h2c") + get("/2"))
        assert (await client.read_response()).header("connection") is None
        assert (await client.read_response()).status == 200
        assert bed.backends[0].requests[0].header("upgrade") is None


async def test_a_client_may_close_after_its_request_in_time_for_the_answer(kind: str) -> None:
    async with open_bed(kind, scripts.answer()) as bed, bed.client() as client:
        await client.send(get())
        await client.finish()
        assert (await client.read_response()).status == 200
        assert await client.stream.receive_some() == b""
