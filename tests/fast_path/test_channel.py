"""A channel that is no plain socket: nobody goes around it, on either side and on either path.

Its bytes are changed on the way (`xor_wire.pyx`), so that whoever used the bare socket would send
and get nonsense; and it holds bytes both ways that no edge tells of.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, nullcontext, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client
from tests.support.net import http_url
from tests.support.process import ROOT
from tests.support.rig import get, post, post_chunks
from tests.support.waiting import eventually
from trio_lb.fast.loop import Epoll, Server
from trio_lb.net import dial, listen
from trio_lb.net.deadlines import Deadlines
from trio_lb.net.transport import Buffer, SocketTransport, TransportBroken
from trio_lb.proxy.connection import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.backend import Exchange

LARGE = bytes(range(251)) * 8_000  # 2 MB
HUGE = LARGE * 8  # more than all queues on the way hold
SWAP = bytes(number ^ 0x5A for number in range(256))


@pytest.fixture(scope="module")
def wire() -> Any:
    """The class of the wire, compiled."""
    also = {"TRIO_LB_ALSO": "tests/support/xor_wire.pyx"}
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(command, cwd=ROOT, env=os.environ | also, check=True, stdout=sys.stderr)
    return import_module("tests.support.xor_wire").XorWire


@pytest.fixture
def wires(wire: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All connections of the balancer have one of these, once it is asked for."""
    wires: list[Any] = []

    class XorTransport(SocketTransport):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.wire = wire()
            self._more = False
            wires.append(self.wire)

        def receive_nowait(self, size: int) -> bytes | None:
            try:
                data, self._more = self.wire.receive(self.fileno(), size)
            except OSError as exc:
                raise TransportBroken("broken") from exc
            return data  # type: ignore[no-any-return]

        def send_nowait(self, data: Buffer) -> int:
            try:
                return self.wire.send(self.fileno(), memoryview(bytes(data)))  # type: ignore[no-any-return]
            except OSError as exc:
                raise TransportBroken("broken") from exc

        async def wait_readable(self, deadline: float) -> None:
            self.send_nowait(b"")
            while self.wire.unsent:
                await super().wait_writable(deadline)
                self.send_nowait(b"")
            if self._more:
                await trio.lowlevel.checkpoint()
            else:
                await super().wait_readable(deadline)

        def peek(self) -> bytes | None:
            return b"?" if self._more else super().peek()

    # Clients are accepted on the slow path, which makes their transports.
    monkeypatch.setattr(Proxy, "acceptor", lambda *_: nullcontext())
    monkeypatch.setattr(listen, "SocketTransport", XorTransport)
    monkeypatch.setattr(dial, "SocketTransport", XorTransport)
    return wires


@asynccontextmanager
async def swapped(url: str) -> AsyncIterator[str]:
    """A relay to `url` that changes every byte, both ways; its own URL."""

    async def relay(source: trio.SocketStream) -> None:
        target = await trio.open_tcp_stream(host, port)
        async with source, target, trio.open_nursery() as nursery:
            nursery.start_soon(swap, source, target)
            nursery.start_soon(swap, target, source)

    async def swap(source: trio.SocketStream, target: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await target.send_all(data.translate(SWAP))
            await target.send_eof()

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            nursery.start_soon(trio.serve_listeners, relay, [listener])
            yield http_url("127.0.0.1", listener.socket.getsockname()[1])
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def through_wires(script: Any, **settings: Any) -> AsyncIterator[tuple[Any, Any, Any]]:
    """A server, a balancer and a client, with wires between them."""
    async with (
        open_backend(script) as backend,
        swapped(backend.url) as server,
        open_balancer(server, health_check="off", **settings) as balancer,
        swapped(balancer.addresses[0]) as entrance,
        open_client(entrance) as client,
    ):
        yield backend, balancer, client


async def tell_digest(exchange: Exchange) -> None:
    seen = hashlib.sha256()
    while data := await exchange.receive():
        seen.update(data)
    await exchange.respond(seen.hexdigest().encode())


def chunked(body: bytes) -> bytes:
    return post_chunks(*(body[at : at + 50_000] for at in range(0, len(body), 50_000)))


async def test_requests_in_a_row_that_no_edge_tells_of(
    wires: list[Any], on_slow_path: list[bytes]
) -> None:
    """Scale: 100 requests in one piece, which the channel gives away in many."""
    async with through_wires(scripts.answer(b"x" * 3000)) as (backend, _, client):
        await client.send(get() * 100)
        for _ in range(100):
            assert (await client.read_response()).body == b"x" * 3000
        assert len(backend.connections) == 1
    assert on_slow_path == []
    assert len(wires) == 2
    assert all(wire.received > 3 for wire in wires)


@pytest.mark.parametrize("framed", [post, chunked])
async def test_large_bodies_to_the_server(
    wires: list[Any], on_slow_path: list[bytes], framed: Any
) -> None:
    async with through_wires(tell_digest) as (_, _, client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, framed(LARGE))
            digest = (await client.read_response("POST")).body
        assert digest == hashlib.sha256(LARGE).hexdigest().encode()
        await client.send(get())
        assert (await client.read_response()).body == hashlib.sha256().hexdigest().encode()
    assert on_slow_path == []


@pytest.mark.parametrize(
    "script",
    [
        scripts.answer(HUGE),
        scripts.chunked([HUGE[at : at + 70_000] for at in range(0, len(HUGE), 70_000)]),
        scripts.until_close(HUGE),
    ],
)
async def test_large_bodies_to_a_client_that_takes_its_time(
    wires: list[Any], on_slow_path: list[bytes], script: Any
) -> None:
    async with through_wires(script) as (_, _, client):
        for _ in range(2):
            await client.send(get())
            await eventually(lambda: any(wire.unsent for wire in wires))
            assert (await client.read_response()).body == HUGE
    assert on_slow_path == []


@pytest.mark.parametrize("where", ["head", "body"])
async def test_the_slow_path_goes_on_where_the_fast_one_stops(
    wires: list[Any], on_slow_path: list[bytes], where: str
) -> None:
    """An odd interim response comes before the head, an odd trailer behind the body."""
    pieces = [LARGE[at : at + 70_000] for at in range(0, len(LARGE), 70_000)]
    script = (
        scripts.informational(103, [("content-length", "0")], scripts.answer(LARGE))
        if where == "head"
        else scripts.chunked(pieces, [("host", "x")])
    )
    async with through_wires(script) as (backend, _, client):
        for _ in range(3):
            await client.send(get())
            response = await client.read_response()
            assert response.body == LARGE
        assert len(backend.connections) == 1
    assert on_slow_path == [b"/"] * 3


async def test_a_server_that_breaks_off(wires: list[Any]) -> None:
    async with through_wires(scripts.cut_body(LARGE, len(LARGE) + 1, reset=False)) as (
        _,
        _,
        client,
    ):
        await client.send(get())
        response = await client.read_response()
        assert not response.complete
        assert LARGE.startswith(response.body)


async def test_a_client_that_leaves(wires: list[Any]) -> None:
    async with (
        open_backend(scripts.answer(HUGE)) as backend,
        swapped(backend.url) as server,
        open_balancer(server, health_check="off") as balancer,
        swapped(balancer.addresses[0]) as entrance,
    ):
        async with open_client(entrance) as client:
            await client.send(get())
            await eventually(lambda: any(wire.unsent for wire in wires))
        await eventually(lambda: not balancer.statistics().client_connections)
        assert balancer.statistics().total_active == 0


async def test_bytes_that_were_taken_before_the_fast_path_looks(
    wires: list[Any], on_slow_path: list[bytes]
) -> None:
    """Behind a PROXY header; the slow path has it read, and the wire takes more than that."""
    request = get("/", "X-Long: " + "x" * 3000)
    settings = {
        "listen": {"url": "http://127.0.0.1:0", "proxy_protocol": True},
        "trusted_proxies": ["127.0.0.1"],
    }
    async with through_wires(scripts.answer(b"hello"), **settings) as (_, _, client):
        await client.send(b"PROXY TCP4 127.0.0.2 127.0.0.1 1 2\r\n" + request)
        assert (await client.read_response()).body == b"hello"
    assert on_slow_path == []


@pytest.mark.parametrize("left", [False, True])
async def test_an_idle_connection_s_wire_holds_nothing(wire: Any, left: bool) -> None:
    """No event tells of what it has taken already, and that would answer the next request."""

    class Wired(SocketTransport): ...

    near, far = socket.socketpair()
    near.setblocking(False)
    transport = Wired(near, "unix:", Deadlines())
    transport.wire = wire()
    epoll = Epoll()
    server = Server(
        epoll, slot=0, member=None, name=b"a", prefix=b"", limit=1, dial=lambda: None
    )  # fmt: skip
    with far:
        far.sendall(bytes(1001 if left else 1000))
        data, _ = transport.wire.receive(transport.fileno(), 1000)
        assert len(data) == 1000
        server.keep_transport(transport, 0.0)
        assert server.idle == (not left)
        server.close()
        assert transport.fileno() == -1
    epoll.close()
