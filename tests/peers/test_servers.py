"""Servers as they are installed elsewhere, behind a balancer in the test's process."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import besides_checks, open_balancer, states
from tests.support.client import open_client, request
from tests.support.peers import run_gunicorn, run_http_server, run_node, run_uvicorn
from tests.support.process import needs, run_nginx

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.backend import Exchange

BODY = b"".join(b"%07d\n" % number for number in range(100_000))
CHECK = {"path": "/"}


@needs("nginx")
async def test_nginx(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(BODY)
    server = f"""
    root {tmp_path};
    keepalive_timeout 1s;
    location = / {{ return 200 "nginx"; }}
    location /moved {{ return 301 /file; }}
    location /big/ {{ client_max_body_size 1k; proxy_pass http://127.0.0.1:1; }}
    """
    async with (
        run_nginx(tmp_path, server) as url,
        open_balancer(url, health_check=CHECK) as balancer,
    ):
        base = balancer.addresses[0]
        assert (await request(base)).body == b"nginx"
        response = await request(f"{base}/file")
        assert (response.status, response.body) == (200, BODY)
        assert (response.header("server") or "").startswith("nginx")
        head = await request(f"{base}/file", "HEAD")
        assert (head.header("content-length"), head.body) == (str(len(BODY)), b"")
        part = await request(f"{base}/file", headers=[("Range", "bytes=8-15")])
        assert (part.status, part.body) == (206, b"0000001\n")
        tag = response.header("etag") or ""
        fresh = await request(f"{base}/file", headers=[("If-None-Match", tag)])
        assert (fresh.status, fresh.body) == (304, b"")
        moved = await request(f"{base}/moved")
        assert moved.status == 301
        assert (await request(f"{base}/missing")).status == 404
        refused = await request(f"{base}/big/", "POST", body=BODY)
        assert (refused.status, refused.complete) == (413, True)
        # Its keep-alive time is shorter than ours: what it closed is not used.
        for _ in range(2):
            assert (await request(base, "POST", body=b"")).status == 200
            await trio.sleep(1.2)
        assert states(balancer) == ["alive"]
        assert balancer.statistics().servers[0].failed == 0


async def test_http_server_of_python(tmp_path: Path) -> None:
    """HTTP/1.0 answers, every connection closed."""
    (tmp_path / "file").write_bytes(BODY)
    async with (
        run_http_server(tmp_path) as url,
        open_balancer(url, health_check=CHECK) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(5):
            await client.send(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
            response = await client.read_response()
            assert (response.status, response.http_version) == (200, "1.1")
            assert (response.body, response.header("connection")) == (BODY, None)
        await client.send(b"DELETE /file HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.read_response()).status == 501  # its own
        assert (tmp_path / "file").exists()
        assert balancer.statistics().servers[0].failed == 0


async def test_uvicorn() -> None:
    async with (
        run_uvicorn() as url,
        open_balancer(url, health_check=CHECK) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(b"GET /a%20b/?x=1&y=%2F HTTP/1.1\r\nHost: a\r\n\r\n")
        response = await client.read_response()
        assert response.body == b"GET /a b/?x=1&y=%2F"
        assert (response.header("x-asgi"), response.header("server")) == ("yes", "uvicorn")
        await client.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        streamed = await client.read_response()
        assert streamed.body == b"".join(b"%03d\n" % number for number in range(100))
        assert streamed.header("transfer-encoding") == "chunked"
        chunks = b"".join(scripts.chunk(BODY[i : i + 9999]) for i in range(0, len(BODY), 9999))
        await client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(chunks + b"0\r\n\r\n")
        assert (await client.read_response("POST")).body == BODY
        await client.send(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        await client.send(b"hello")
        continued = await client.read_response("POST")
        assert (continued.body, continued.informational) == (b"hello", (100,))
        assert balancer.statistics().servers[0].failed == 0


async def test_gunicorn() -> None:
    async with (
        run_gunicorn() as url,
        open_balancer(url, health_check=CHECK) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for number in range(3):
            await client.send(f"GET /a%20b?n={number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            response = await client.read_response()
            assert response.body == f"GET /a b?n={number} of a".encode()
            assert (response.header("server") or "").startswith("gunicorn")
        for framing in (
            b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
            b"Transfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % scripts.chunk(BODY),
        ):
            await client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\n" + framing)
            assert (await client.read_response("POST")).body == BODY
        await client.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        streamed = await client.read_response()
        assert streamed.body == b"".join(b"%03d\n" % number for number in range(100))
        assert balancer.statistics().servers[0].failed == 0


@needs("node")
async def test_node() -> None:
    """Interim answers, trailers in both directions, and chunked bodies as Node makes them."""
    async with (
        run_node() as url,
        open_balancer(url, health_check=CHECK) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(b"GET /hints?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        response = await client.read_response()
        assert (response.status, response.informational) == (200, (103,))
        assert response.body == b"GET /hints?x=1"
        await client.send(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + scripts.chunk(BODY)
            + b"0\r\nX-Sum: 7\r\n\r\n"
        )
        echoed = await client.read_response("POST")
        assert echoed.body == BODY
        assert echoed.trailers == (("x-sum", "7"),)
        await client.send(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        await client.send(b"hello")
        continued = await client.read_response("POST")
        assert (continued.body, continued.informational) == (b"hello", (100,))
        await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.read_response("HEAD")).status == 200
        assert balancer.statistics().servers[0].failed == 0


async def test_events_arrive_one_by_one() -> None:
    """Server-sent events: the server sends the next one only when the last one has arrived."""
    arrived = trio.Event()
    heads = trio.Event()

    async def events(exchange: Exchange) -> None:
        nonlocal arrived
        kind = [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")]
        await exchange.send_head(200, kind)
        await heads.wait()
        for number in range(5):
            arrived = trio.Event()
            await exchange.send(scripts.chunk(b"data: %d\n\n" % number))
            await arrived.wait()
        await exchange.send(scripts.last_chunk(()))

    async with (
        open_backend(besides_checks(events)) as backend,
        open_balancer(backend.url) as balancer,
    ):
        host, port = urlsplit(balancer.addresses[0]).netloc.split(":")
        stream = await trio.open_tcp_stream(host, int(port))
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with trio.fail_after(10):
                await receive_until(stream, b"\r\n\r\n")
                heads.set()
                for number in range(5):
                    event = scripts.chunk(b"data: %d\n\n" % number)
                    assert await receive_until(stream, event) == event
                    arrived.set()
                await receive_until(stream, b"0\r\n\r\n")


async def receive_until(stream: trio.SocketStream, end: bytes) -> bytes:
    received = b""
    while end not in received:
        data = await stream.receive_some()
        assert data, received
        received += data
    return received
