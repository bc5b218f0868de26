"""The scripted server answers as told, and remembers what it was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import End, Exchange, Script, open_backend
from tests.support.client import End as ResponseEnd
from tests.support.client import open_client, request

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_records_requests_and_connections() -> None:
    async with open_backend(scripts.answer(b"hello")) as backend:
        for _ in range(2):
            identity = [("X-Request-ID", "7")]
            response = await request(f"{backend.url}/a?b", "POST", headers=identity, body=b"body")
            assert (response.status, response.reason, response.body) == (200, "OK", b"hello")
            assert response.complete
        await backend.wait_until(lambda backend: not backend.open_connections)
    assert [(r.method, r.target, r.body, r.complete) for r in backend.requests] == [
        ("POST", "/a?b", b"body", True)
    ] * 2
    assert backend.requests[0].header("HOST") == backend.address
    assert backend.request_ids == {"7": 2}
    assert [connection.end for connection in backend.connections] == [End.PEER_CLOSED] * 2
    assert backend.connections[0].received.startswith(b"POST /a?b HTTP/1.1\r\n")
    assert not backend.protocol_errors


async def test_unix_socket_and_ipv6(tmp_path: Path) -> None:
    async with (
        open_backend(scripts.answer(), unix=tmp_path / "socket") as unix,
        open_backend(scripts.answer(), host="::1") as ipv6,
    ):
        assert unix.url == f"unix:{tmp_path}/socket"
        assert (await request(unix.url)).body == b"ok"
        assert ipv6.url == f"http://[::1]:{ipv6.port}"
        assert (await request(ipv6.url)).body == b"ok"


async def test_pipelined_requests_on_one_connection() -> None:
    async with open_backend(scripts.echo()) as backend, open_client(backend.url) as client:
        await client.send(
            b"".join(
                b"PUT /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%d" % (i, i)
                for i in range(3)
            )
        )
        bodies = [(await client.read_response()).body for _ in range(3)]
        assert bodies == [b"0", b"1", b"2"]
        assert [r.target for r in backend.connections[0].requests] == ["/0", "/1", "/2"]


async def test_chunked_with_trailers_both_ways() -> None:
    script = scripts.chunked([b"one", b"two"], [("X-Sum", "6")])
    async with open_backend(script) as backend, open_client(backend.url) as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-End: yes\r\n\r\n"
        )
        response = await client.read_response()
        assert (response.body, response.trailers) == (b"onetwo", (("x-sum", "6"),))
        assert backend.requests[0].body == b"abc"
        assert backend.requests[0].trailers == [("x-end", "yes")]


async def test_expect_continue() -> None:
    async with open_backend(scripts.answer()) as backend, open_client(backend.url) as client:
        await client.send(
            b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert await client.stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"ab")
        assert (await client.read_response()).body == b"ok"
        assert backend.requests[0].body == b"ab"


async def test_head_has_no_body() -> None:
    async with open_backend(scripts.answer(b"hello")) as backend:
        response = await request(backend.url, "HEAD")
    assert response.complete
    assert (response.header("content-length"), response.body) == ("5", b"")


async def test_informational_then_final() -> None:
    script = scripts.informational(103, [("Link", "</a>")], scripts.answer())
    async with open_backend(script) as backend:
        response = await request(backend.url)
    assert (response.informational, response.status) == ((103,), 200)


async def test_delay_is_on_the_virtual_clock(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    async with open_backend(scripts.delayed(3600, scripts.answer())) as backend:
        assert (await request(backend.url)).complete
    assert trio.current_time() - start >= 3600


@pytest.mark.parametrize(
    ("script", "end", "body"),
    [
        (scripts.until_close(b"abc"), ResponseEnd.COMPLETE, b"abc"),
        (scripts.until_close(b"abc", "1.0"), ResponseEnd.COMPLETE, b"abc"),
        (scripts.bulk(200_000), ResponseEnd.COMPLETE, bytes(200_000)),
        (scripts.cut_body(b"abc", 10, reset=False), ResponseEnd.EOF, b"abc"),
        (scripts.cut_chunked([b"abc"], reset=False), ResponseEnd.EOF, b"abc"),
        (scripts.raw(b"", reset=False), ResponseEnd.EOF, b""),
        (scripts.raw(b"", reset=True), ResponseEnd.RESET, b""),
    ],
)
async def test_how_answers_end(script: Script, end: ResponseEnd, body: bytes) -> None:
    async with open_backend(script) as backend:
        response = await request(backend.url)
    assert (response.end, response.body) == (end, body)


@pytest.mark.parametrize(
    "script",
    [scripts.cut_body(b"abc", 10, reset=True), scripts.cut_chunked([b"abc"], reset=True)],
)
async def test_reset_in_the_body(script: Script) -> None:
    async with open_backend(script) as backend:
        response = await request(backend.url)
    assert response.end is ResponseEnd.RESET  # a RST may overtake what was sent before it


async def test_bytes_behind_a_whole_answer() -> None:
    poison = b"HTTP/1.1 200 Poison\r\nContent-Length: 0\r\n\r\n"
    async with (
        open_backend(scripts.overlong(b"ok", poison)) as backend,
        open_client(backend.url) as client,
    ):
        await client.send(GET)
        assert (await client.read_response()).body == b"ok"
        assert (await client.read_response()).reason == "Poison"


@pytest.mark.parametrize("lingers", [True, False])
async def test_early_answer(lingers: bool) -> None:
    script = scripts.early_answer(lingers=lingers)
    async with open_backend(script) as backend, open_client(backend.url) as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx")
        if lingers:
            assert (await client.read_response()).status == 413
            await client.finish()
        assert (await client.read_until_close())[1] is (
            ResponseEnd.EOF if lingers else ResponseEnd.RESET
        )
        assert not backend.requests[0].complete


async def test_endless_head_ends_when_the_peer_leaves() -> None:
    async with open_backend(scripts.endless_head()) as backend:
        async with open_client(backend.url) as client:
            await client.send(GET)
            received = 0
            while received < 1 << 20:
                received += len(await client.stream.receive_some(65536))
        await backend.wait_until(lambda backend: not backend.open_connections)
        assert backend.connections[0].end is End.PEER_RESET


async def test_hang_ends_when_the_peer_leaves(autojump_clock: MockClock) -> None:
    async with open_backend(scripts.hang()) as backend:
        with trio.move_on_after(60):
            await request(backend.url)
        await backend.wait_until(lambda backend: not backend.open_connections)
        assert backend.connections[0].end is End.PEER_CLOSED


async def test_a_reused_connection_is_dropped() -> None:
    script = scripts.drop_reused(scripts.answer())
    async with open_backend(script) as backend, open_client(backend.url) as client:
        await client.send(GET)
        assert (await client.read_response()).complete
        await client.send(GET)
        assert (await client.read_response()).end is ResponseEnd.RESET
        assert len(backend.requests) == 2


async def test_connection_close_and_idle_timeout(autojump_clock: MockClock) -> None:
    async with (
        open_backend(
            scripts.in_turn(scripts.answer(), scripts.closing()), idle_timeout=5
        ) as backend,
        open_client(backend.url) as idle,
        open_client(backend.url) as closed,
    ):
        await idle.send(GET)
        assert (await idle.read_response()).header("connection") is None
        await closed.send(GET)
        assert (await closed.read_response()).header("connection") == "close"
        start = trio.current_time()
        assert await closed.read_until_close() == (b"", ResponseEnd.EOF)
        assert trio.current_time() == start
        assert await idle.read_until_close() == (b"", ResponseEnd.EOF)
        assert trio.current_time() == start + 5


async def test_stop_start_kill() -> None:
    async with open_backend(scripts.answer()) as backend:
        async with open_client(backend.url) as client:
            await backend.stop()
            assert await client.read_until_close() == (b"", ResponseEnd.EOF)
        with pytest.raises(OSError, match="all attempts"):
            await request(backend.url)
        await backend.start()
        async with open_client(backend.url) as client:
            await client.send(GET)
            assert (await client.read_response()).complete
            await backend.kill()
            assert await client.read_until_close() == (b"", ResponseEnd.RESET)
        await backend.stop()
    assert [connection.end for connection in backend.connections] == [End.CLOSED_HERE] * 2


async def test_a_malformed_request_is_recorded() -> None:
    async with open_backend(scripts.answer()) as backend, open_client(backend.url) as client:
        await client.send(b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n")
        assert (await client.read_until_close())[0] == b""
        assert len(backend.protocol_errors) == 1


async def test_a_failing_script_fails_the_test() -> None:
    async def script(exchange: Exchange) -> None:
        raise AssertionError(exchange.request.target)

    with pytest.RaisesGroup(AssertionError, flatten_subgroups=True):
        async with open_backend(script) as backend:
            await request(backend.url)
