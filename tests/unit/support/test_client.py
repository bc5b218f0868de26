"""The raw client reads strictly."""

from __future__ import annotations

import h11
import pytest

from tests.support import scripts
from tests.support.backend import Script, open_backend
from tests.support.client import End, open_client, request


@pytest.mark.parametrize(
    "script",
    [
        scripts.garbage_head(),
        scripts.raw(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", reset=False
        ),
        scripts.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", reset=False),
    ],
)
async def test_incorrect_responses_are_errors(script: Script) -> None:
    async with open_backend(script) as backend:
        with pytest.raises(h11.RemoteProtocolError):
            await request(backend.url)


async def test_a_head_that_was_cut_has_no_status() -> None:
    async with open_backend(scripts.raw(b"HTTP/1.1 200 OK\r\nX: ", reset=False)) as backend:
        response = await request(backend.url)
    assert (response.status, response.end, response.complete) == (0, End.EOF, False)


async def test_target_and_host_as_given() -> None:
    async with open_backend(scripts.answer()) as backend:
        await request(backend.url)
        await request(f"{backend.url}/a%20b?c=d", headers=[("X-Two", "1"), ("x-two", "2")])
        await request(backend.url, "OPTIONS", target="*")
    assert [r.target for r in backend.requests] == ["/", "/a%20b?c=d", "*"]
    assert backend.requests[1].header("X-Two") == "1, 2"
    assert backend.requests[2].header("content-length") is None


async def test_what_is_left_of_a_response_is_read_until_close() -> None:
    script = scripts.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc", reset=False)
    async with open_backend(script) as backend, open_client(backend.url) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.read_response()).body == b"a"
        assert await client.read_until_close() == (b"bc", End.EOF)


async def test_reset_reaches_the_server() -> None:
    async with open_backend(scripts.hang()) as backend:
        async with open_client(backend.url) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await backend.wait_until(lambda backend: bool(backend.requests))
            client.reset()
        await backend.wait_until(lambda backend: not backend.open_connections)
        assert backend.connections[0].end == "peer reset"
