"""Answers go on in few pieces, and nothing waits for what may not come."""

from __future__ import annotations

import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import End, open_client
from tests.support.net import reset_on_close
from tests.support.rig import get
from trio_lb.observe.access_log import AccessLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import trio_lb
    from tests.support.backend import Exchange
    from tests.support.client import Client

BODY = b"hello"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def segments_received(stream: Any) -> int:
    """Segments with data that came on a connection (`tcpi_data_segs_in`)."""
    info = stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
    return int.from_bytes(info[152:156], "little")


def write(stream: Any, data: bytes) -> None:
    """Sends `data` at once."""
    assert os.write(stream.socket.fileno(), data) == len(data)


@asynccontextmanager
async def between_two_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes, happens: Callable[[Any], None]
) -> AsyncIterator[tuple[Client, trio_lb.LoadBalancer]]:
    """A client whose answer has come without its body when something happens to its server's
    connection, and before events are looked for again: another answer that was complete in the same
    batch says when.
    """
    exchanges: dict[str, Exchange] = {}

    async def script(exchange: Exchange) -> None:
        exchanges[exchange.request.target] = exchange
        await trio.sleep_forever()

    def first_served(_: AccessLog) -> None:
        happens(exchanges["/parts"].connection.stream)

    monkeypatch.setattr(AccessLog, "_due", first_served)
    async with (
        open_backend(script) as backend,
        open_balancer(
            backend.url, health_check="off", retries=0, access_log=str(tmp_path / "log")
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
        open_client(balancer.addresses[0]) as other,
    ):
        await client.send(get("/parts"))
        await other.send(get("/whole"))
        await backend.wait_until(lambda _: len(exchanges) == 2)
        write(exchanges["/parts"].connection.stream, head)
        write(exchanges["/whole"].connection.stream, HEAD + BODY)
        assert (await other.read_response()).body == BODY
        yield client, balancer


@pytest.mark.parametrize(
    ("head", "body"), [(HEAD, BODY), (CHUNKED_HEAD, CHUNKS)], ids=["length", "chunks"]
)
async def test_a_body_right_behind_its_head_goes_with_it(
    head: bytes, body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body_comes(stream: Any) -> None:
        write(stream, body)

    async with between_two_looks(tmp_path, monkeypatch, head, body_comes) as (client, _):
        assert (await client.read_response()).body == BODY
        assert segments_received(client.stream) == 1


@pytest.mark.parametrize("abrupt", [False, True], ids=["FIN", "RST"])
async def test_a_server_that_ends_behind_a_head_has_cut_its_response(
    abrupt: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_slow_path: list[bytes]
) -> None:
    def ends(stream: Any) -> None:
        if abrupt:
            reset_on_close(stream)
        stream.socket.close()

    async with between_two_looks(tmp_path, monkeypatch, HEAD, ends) as (client, balancer):
        response = await client.read_response()
        assert (response.status, response.body, response.complete) == (200, b"", False)
        assert await client.read_until_close() == (b"", End.EOF)
        assert on_slow_path == [b"/parts"]
        assert balancer.statistics().servers[0].failed == 1


@pytest.mark.parametrize("body", [BODY, CHUNKS], ids=["length", "chunks"])
async def test_a_head_does_not_wait_for_its_body(body: bytes, on_slow_path: list[bytes]) -> None:
    seen = trio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.send(HEAD if body is BODY else CHUNKED_HEAD)
        await seen.wait()
        await exchange.send(body)

    async with (
        open_backend(script) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        head = await client.stream.receive_some(65536)
        assert head.startswith(b"HTTP/1.1 200")
        assert head.endswith(b"\r\n\r\n")
        seen.set()
        assert await client.stream.receive_some(65536) == body
        assert not on_slow_path
