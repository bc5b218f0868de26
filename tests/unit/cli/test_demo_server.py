"""The demo's servers, over real loopback sockets."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from trio_lb.cli.demo import demo_profile, what_to_try
from trio_lb.cli.demo_server import DemoServer, free_port
from trio_lb.config import dump_profile, parse_profile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def _server(name: str = "red", port: int = 0) -> AsyncIterator[DemoServer]:
    async with trio.open_nursery() as nursery:
        server: DemoServer = await nursery.start(DemoServer(name, port).run)
        yield server
        nursery.cancel_scope.cancel()


async def _connect(server: DemoServer) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", server.port)


async def _read_answer(stream: trio.SocketStream, *, head: bool = False) -> tuple[bytes, bytes]:
    """One response: its head and its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = await stream.receive_some()
        assert received, data
        data += received
    fields, _, body = data.partition(b"\r\n\r\n")
    if head:
        assert body == b""
        return fields, body
    length = int(fields.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        received = await stream.receive_some()
        assert received, body
        body += received
    assert len(body) == length
    return fields, body


async def _ask(
    server: DemoServer, target: str, method: str = "GET", body: bytes = b""
) -> tuple[int, bytes]:
    async with await _connect(server) as stream:
        length = f"content-length: {len(body)}\r\n" if body else ""
        request = f"{method} {target} HTTP/1.1\r\nhost: a\r\n{length}\r\n".encode()
        await stream.send_all(request + body)
        fields, answer = await _read_answer(stream, head=method == "HEAD")
        return int(fields.split()[1]), answer


async def test_it_says_its_name_and_counts_over_one_kept_connection() -> None:
    async with _server() as server, await _connect(server) as stream:
        for count in (1, 2):
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            fields, body = await _read_answer(stream)
            assert fields.startswith(b"HTTP/1.1 200")
            assert body == f"red: request {count}\n".encode()
        await stream.send_all(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
        fields, _ = await _read_answer(stream, head=True)
        assert b"content-length: 15" in fields
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await _read_answer(stream))[1] == b"red: request 4\n"
        assert server.served == 4


async def test_pipelined_requests_are_answered_in_turn() -> None:
    async with _server() as server, await _connect(server) as stream:
        close = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" + close)
        answers = b"".join([part async for part in stream])
        assert [answers.count(b"red: request %d\n" % count) for count in (1, 2, 3)] == [1, 1, 0]


async def test_checks_are_not_counted() -> None:
    async with _server() as server:
        assert await _ask(server, "/health") == (200, b"well\n")
        assert server.served == 0


async def test_echo_shows_the_request() -> None:
    async with _server() as server:
        status, body = await _ask(server, "/echo?x=1", "PUT", b"hello")
        assert status == 200
        assert body == b"PUT /echo?x=1 HTTP/1.1\nhost: a\ncontent-length: 5\n\nhello"


async def test_a_body_waits_for_100_continue() -> None:
    async with _server() as server, await _connect(server) as stream:
        await stream.send_all(
            b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100")
        await stream.send_all(b"hi")
        assert (await _read_answer(stream))[1].endswith(b"\n\nhi")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/stop", 405),
        ("POST", "/stop?seconds=0", 400),
        ("POST", "/stop?seconds=9999999999999", 400),
        ("POST", "/stop?seconds=soon", 400),
        ("GET", "/slow?ms=-1", 400),
    ],
)
async def test_what_it_refuses(method: str, target: str, status: int) -> None:
    async with _server() as server:
        assert (await _ask(server, target, method))[0] == status
        assert (await _ask(server, "/"))[0] == 200


async def test_too_large_a_body_is_refused() -> None:
    async with _server() as server, await _connect(server) as stream:
        await stream.send_all(
            b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
            b"100001\r\n" + b"x" * 0x100001 + b"\r\n"
        )
        assert (await _read_answer(stream))[0].startswith(b"HTTP/1.1 413")


async def test_what_is_not_http_is_refused() -> None:
    async with _server() as server, await _connect(server) as stream:
        await stream.send_all(b"hello\r\n\r\n")
        assert (await _read_answer(stream))[0].startswith(b"HTTP/1.1 400")
        assert await stream.receive_some() == b""


async def test_a_client_that_goes_away_in_the_middle_does_no_harm() -> None:
    async with _server() as server:
        async with await _connect(server) as stream:
            await stream.send_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx")
        async with await _connect(server) as stream:
            await stream.send_all(b"GET /slow?ms=1 HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await _ask(server, "/"))[0] == 200


async def test_slow_takes_its_time(autojump_clock: trio.testing.MockClock) -> None:
    async with _server() as server:
        begin = trio.current_time()
        status, body = await _ask(server, "/slow?ms=1500")
        assert (status, body) == (200, b"red: after 1500 ms\n")
        assert trio.current_time() - begin >= 1.5


async def test_stop_closes_everything_and_it_comes_back_by_itself() -> None:
    async with _server() as server, await _connect(server) as idle:
        assert await _ask(server, "/stop?seconds=1", "POST") == (200, b"red: back in 1 seconds\n")
        assert await idle.receive_some() == b""
        with pytest.raises(OSError, match=r"connect|attempts"):
            await _connect(server)
        with trio.fail_after(5):
            while True:
                try:
                    assert (await _ask(server, "/"))[0] == 200
                    break
                except OSError:
                    await trio.sleep(0.05)
        assert (await _ask(server, "/"))[1] == b"red: request 3\n"  # it stays


async def test_a_taken_port_makes_it_find_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with _server(port=port) as server:
            assert server.port != port
            assert (await _ask(server, "/"))[0] == 200
        assert free_port(port) != port


def test_a_free_port_is_kept() -> None:
    port = free_port(0)
    assert port > 0
    assert free_port(port) == port


def test_profile_and_words_of_the_demo_fit() -> None:
    servers = [DemoServer("red", 3001), DemoServer("green", 40002)]
    profile = demo_profile(servers)
    assert parse_profile(dump_profile(profile)) == profile
    words = what_to_try(profile.listen[0].address, servers)
    assert "red on port 3001, green on port 40002" in words
    assert f"curl {profile.listen[0].address}\n" in words
    assert "http://127.0.0.1:3001/stop" in words
