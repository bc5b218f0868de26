"""What a server said before it was asked answers nobody, on either path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support import scripts
from tests.support.paths import both_paths
from tests.support.rig import get, open_bed, open_socket_bed, post, post_chunks
from trio_lb.net.dial import Dialler

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.backend import Backend, Exchange, Script
    from tests.support.client import Client
    from tests.support.rig import Bed
    from trio_lb.net.transport import Transport
    from trio_lb.plan import Address

    Dialled = tuple[Transport, int] | None

OK = scripts.answer(b"ok")
CLOSE = ("Connection", "close")
NOTHING_ASKED = [
    b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
]


def giving_up(
    status: int = 408, *, close: bool = True, delay: float = 0, hints: bool = False
) -> Script:
    """Answers the first request of a connection; has given up when the next one comes."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await trio.sleep(delay)
        if exchange.index and hints:
            await exchange.send_head(103)
        if exchange.index == 0:
            await exchange.respond(b"ok")
        else:
            await exchange.respond(b"late", status, [CLOSE] if close else [])
            if close:
                await exchange.close()

    return script


async def second(bed: Bed, request: bytes, first: bytes | None = None) -> tuple[int, bytes]:
    """The answer to a request on a connection to a server that was used before."""
    async with bed.client() as client:
        if first is not None:
            await client.send(first)
            assert (await client.read_response()).status == 200
        await client.send(request)
        response = await client.read_response()
        return response.status, response.body


both = pytest.mark.parametrize("kind", ["memory", "sockets"])


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/2"), 200),
        (get("/2", method="DELETE"), 200),
        (post(b"x", method="PUT"), 200),
        (post_chunks(b"abc", method="PUT"), 200),
        (post(b"x"), 502),
        (post(b"x" * 100_000), 502),
        (post_chunks(b"abc"), 502),
    ],
    ids=["get", "delete", "put", "chunked-put", "post", "large-post", "chunked-post"],
)
@both
async def test_a_408_for_the_time_before_the_request(
    kind: str, request_: bytes, status: int
) -> None:
    async with open_bed(kind, giving_up()) as bed:
        assert (await second(bed, request_, get("/1")))[0] == status
        [backend] = bed.backends
        again = status == 200
        assert [each.target for each in backend.requests[1:]].count("/2") <= 2
        assert len(backend.connections) == 1 + again
        assert not backend.protocol_errors


@both
async def test_it_is_nobodys_failure(kind: str) -> None:
    async with open_bed(kind, giving_up()) as bed:
        for _ in range(5):
            assert (await second(bed, post(b"x"), get("/1")))[0] == 502
        assert (await second(bed, get()))[0] == 200


@pytest.mark.parametrize(
    ("script", "first"),
    [
        (giving_up(close=False), get()),
        (giving_up(503), get()),
        (scripts.answer(b"late", 408, [CLOSE]), None),
        (giving_up(hints=True), get()),
        (giving_up(delay=1.2), get()),
    ],
    ids=["kept", "503", "fresh", "behind-hints", "after-a-second"],
)
@both
async def test_other_answers_are_answers(
    kind: str, script: Script, first: bytes | None, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_bed(kind, script) as bed:
        status, body = await second(bed, post(b"x"), first)
        assert (status in (408, 503), body) == (True, b"late")
        assert len(bed.backends[0].connections) == 1


def send_at_once(stream: Any, data: bytes) -> None:
    """Before anybody else has a turn."""
    os.write(stream.socket.fileno(), data)


def server_sends(backend: Backend, data: bytes) -> None:
    """On its only connection that is open, at once."""
    [connection] = backend.open_connections
    send_at_once(connection.stream, data)


async def events_are_looked_for(client: Client) -> None:
    """Once more, by the fast path; nothing has happened to any server meanwhile."""
    send_at_once(client.stream, b"G")
    await wait_all_tasks_blocked()


@pytest.mark.parametrize("data", NOTHING_ASKED, ids=["408", "503", "400", "204", "103"])
@both_paths
async def test_together_with_the_request_but_before_it_was_sent_on(
    fast_path: bool, data: bytes, mock_clock: trio.testing.MockClock
) -> None:
    """The connection has not been idle for a moment: time stands still."""
    async with (
        open_socket_bed(OK, fast_path=fast_path) as bed,
        bed.client() as client,
        bed.client() as other,
    ):
        await client.send(get("/1"))
        await client.read_response()
        await events_are_looked_for(other)
        send_at_once(client.stream, get("/2"))
        server_sends(bed.backends[0], data)
        response = await client.read_response()
        assert (response.status, response.informational) == (200, ())
        assert [each.target for each in bed.backends[0].requests][-1] == "/2"
        assert len(bed.backends[0].connections) == 2


@pytest.mark.parametrize("data", NOTHING_ASKED, ids=["408", "503", "400", "204", "103"])
async def test_behind_the_last_look_but_before_the_request_was_sent_on(
    data: bytes, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Two clients' requests come at once; while the first one is dealt with, a server speaks."""
    speaks = [False]

    beginning = Dialler.beginning

    def watched_dial(dialler: Dialler, address: Address) -> Callable[[], Dialled]:
        dial = beginning(dialler, address)

        def dial_meanwhile() -> Dialled:
            if speaks[0]:
                speaks[0] = False
                server_sends(bed.backends[1], data)
            return dial()

        return dial_meanwhile

    monkeypatch.setattr(Dialler, "beginning", watched_dial)
    async with (
        open_socket_bed(scripts.closing(), OK) as bed,
        bed.client() as client,
        bed.client() as other,
    ):
        for target in ("/1", "/2"):
            await client.send(get(target))
            await client.read_response()
        await trio.sleep(0.1)
        await events_are_looked_for(other)
        speaks[0] = True
        send_at_once(client.stream, get("/3"))
        send_at_once(other.stream, get("/4")[1:])
        assert (await client.read_response()).status == 200
        response = await other.read_response()
        assert (response.status, response.informational) == (200, ())
        assert not speaks[0]
        assert [each.target for each in bed.backends[1].requests] == ["/2", "/4"]
