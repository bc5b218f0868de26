"""What a client sends reaches the server, and what the server answers reaches the client."""

from __future__ import annotations

import pytest

from tests.support import scripts
from tests.support.backend import Exchange, Script, head
from tests.support.rig import get, open_bed, post

pytestmark = [
    pytest.mark.parametrize("kind", ["memory", "sockets"]),
    pytest.mark.usefixtures("both_codecs"),
]


def raw_head(reason: bytes, lines: list[bytes], body: bytes) -> Script:
    """An answer with this reason phrase and these lines, exactly."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(b"\r\n".join((b"HTTP/1.1 203 " + reason, *lines, b"", body)))

    return script


async def test_method_target_fields_and_body_reach_the_server(kind: str) -> None:
    body = bytes(range(256)) * 20
    async with open_bed(kind, scripts.answer()) as bed, bed.client() as client:
        lines = ("b: 1", "A: 2", "cookie: x", "COOKIE: y", "Accept: */*", "X-Empty:")
        await client.send(post(body, *lines, target="/a//b%20c;d?e=f&g=%FF", method="PATCH"))
        assert (await client.read_response()).status == 200
        [request] = bed.backends[0].requests
        received = bytes(bed.backends[0].connections[0].received)
    assert (request.method, request.target) == ("PATCH", "/a//b%20c;d?e=f&g=%FF")
    assert request.http_version == "1.1"
    assert request.body == body
    heads = received.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert heads[1] == b"Host: example.org"
    assert heads[2:8] == [line.encode() for line in lines[:-1]] + [b"X-Empty: "]
    assert b"Content-Length: %d" % len(body) in heads


async def test_status_reason_fields_and_body_reach_the_client(kind: str) -> None:
    lines = [
        b"Set-Cookie: a=1; Path=/",
        b"x-lower: 1",
        b"Set-Cookie: b=2",
        b"SET-COOKIE: c=3",
        b"Server: someone",
        b"X-Latin: \xe4",
        b"date: Tue, 15 Nov 1994 08:12:31 GMT",
        b"Content-Length: 4",
    ]
    script = raw_head(b"Sort Of \xe4", lines, b"body")
    async with open_bed(kind, script) as bed, bed.client() as client:
        await client.send(get("/", "Connection: close"))
        data, _ = await client.read_until_close()
    assert data == b"\r\n".join(
        (
            b"HTTP/1.1 203 Sort Of \xe4",
            *lines,
            b"Via: 1.1 trio-lb",
            b"Connection: close",
            b"",
            b"body",
        )
    )


async def test_who_the_client_is_and_by_whom_it_was_passed_on(kind: str) -> None:
    async with open_bed(kind, scripts.answer()) as bed, bed.client() as client:
        forged = ("X-Forwarded-For: 10.0.0.1", "x-real-ip: 10.0.0.1", "Forwarded: for=10.0.0.1")
        await client.send(get("/", *forged, "Via: 1.0 cache", "X-Request-ID: mine-1"))
        await client.read_response()
        await client.send(get("/"))
        await client.read_response()
        first, second = bed.backends[0].requests
    address = "192.0.2.1" if kind == "memory" else "127.0.0.1"
    assert first.header("x-forwarded-for") == first.header("x-real-ip") == address
    assert first.header("x-forwarded-proto") == "http"
    assert first.header("x-forwarded-host") == first.header("host") == "example.org"
    assert first.header("forwarded") is None
    assert first.header("via") == "1.0 cache, 1.1 trio-lb"
    assert first.header("x-request-id") == "mine-1"
    made = second.header("x-request-id")
    assert made is not None
    assert len(made) > 8


async def test_request_ids_of_ours_differ(kind: str) -> None:
    async with open_bed(kind, scripts.answer()) as bed, bed.client() as client:
        for _ in range(20):
            await client.send(get())
            await client.read_response()
        assert set(bed.backends[0].request_ids.values()) == {1}


@pytest.mark.parametrize("status", [200, 201, 301, 404, 418, 500, 502, 503, 599])
async def test_a_servers_own_status_is_an_answer(kind: str, status: int) -> None:
    async with open_bed(kind, scripts.answer(b"x", status)) as bed, bed.client() as client:
        await client.send(get())
        response = await client.read_response()
        assert (response.status, response.body) == (status, b"x")
        assert len(bed.backends[0].requests) == 1


async def test_an_absolute_target_becomes_a_path(kind: str) -> None:
    async with open_bed(kind, scripts.answer()) as bed, bed.client() as client:
        await client.send(get("http://other.example:81/a?b"))
        await client.read_response()
        [request] = bed.backends[0].requests
    assert (request.target, request.header("host")) == ("/a?b", "other.example:81")


async def test_options_of_everything(kind: str) -> None:
    async with open_bed(kind, scripts.answer()) as bed, bed.client() as client:
        await client.send(get("*", method="OPTIONS"))
        assert (await client.read_response("OPTIONS")).status == 200
        assert bed.backends[0].requests[0].target == "*"


async def test_hop_by_hop_fields_end_here_in_both_directions(kind: str) -> None:
    fields = [("Connection", "X-Private"), ("X-Private", "1"), ("Keep-Alive", "timeout=9")]
    async with open_bed(kind, scripts.answer(headers=fields)) as bed, bed.client() as client:
        await client.send(get("/", "Connection: keep-alive, X-Mine", "X-Mine: 1", "TE: gzip"))
        response = await client.read_response()
        [request] = bed.backends[0].requests
    for name in ("connection", "x-private", "keep-alive"):
        assert response.header(name) is None
    for name in ("connection", "x-mine", "te"):
        assert request.header(name) is None


async def test_any_split_of_a_request_is_the_same_request(kind: str) -> None:
    data = post(b"some body", target="/x")
    async with open_bed(kind, scripts.echo()) as bed, bed.client() as client:
        for at in range(1, len(data), 7):
            await client.send(data[:at])
            await client.send(data[at:])
            assert (await client.read_response()).body == b"some body"
        for at in range(len(data)):
            await client.send(data[at : at + 1])
        assert (await client.read_response()).body == b"some body"
        assert {request.target for request in bed.backends[0].requests} == {"/x"}


async def test_any_split_of_a_response_is_the_same_response(kind: str) -> None:
    data = head(200, [("Content-Length", "5"), ("X", "y")]) + b"hello"

    async def drip(exchange: Exchange) -> None:
        for at in range(len(data)):
            await exchange.send(data[at : at + 1])

    async with open_bed(kind, drip) as bed, bed.client() as client:
        await client.send(get())
        response = await client.read_response()
    assert (response.status, response.header("x"), response.body) == (200, "y", b"hello")
