"""Large bodies of requests on the fast path: whole, in order, at the pace of the slower side."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client
from tests.support.paths import both_paths
from tests.support.rig import get, post, post_chunks
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from tests.support.backend import Exchange, Script
    from tests.support.client import Client

    Framed: TypeAlias = Callable[..., bytes]

LARGE = bytes(range(251)) * 20_000  # 5 MB


def chunked(body: bytes, *, method: str = "POST") -> bytes:
    """A request with this body in chunks."""
    pieces = (body[at : at + 50_000] for at in range(0, len(body), 50_000))
    return post_chunks(*pieces, method=method)


both_framings = pytest.mark.parametrize("framed", [post, chunked])


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


async def tell_digest(exchange: Exchange) -> None:
    """Answers with the digest of the body."""
    seen = hashlib.sha256()
    while data := await exchange.receive():
        seen.update(data)
    await exchange.respond(seen.hexdigest().encode())


async def send(client: Client, data: bytes, size: int = 65_536) -> None:
    """Sends in pieces, as long as somebody takes them."""
    try:
        for at in range(0, len(data), size):
            await client.send(data[at : at + size])
    except trio.BrokenResourceError:
        pass


@pytest.mark.parametrize("size", [65_537, 100_000, 524_288, 524_289, len(LARGE)])
@pytest.mark.parametrize("piece", [1460, 65_536, 10_000_000])
@both_framings
async def test_bodies_arrive_as_they_were_sent(
    framed: Framed, size: int, piece: int, on_slow_path: list[bytes]
) -> None:
    async with (
        open_backend(tell_digest) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for body in (LARGE[:size], LARGE[-size:]):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, client, framed(body), piece)
                assert (await client.read_response("POST")).body == digest(body)
        await client.send(get())
        assert (await client.read_response()).body == digest(b"")
        assert balancer.statistics().servers[0].bytes_sent == 2 * size
        assert on_slow_path == []
        assert len(backend.connections) == 1


@both_framings
async def test_a_slow_server_holds_the_client_back(
    framed: Framed, on_slow_path: list[bytes]
) -> None:
    """What is not taken stays with the sender, and not in our memory."""
    begin = trio.Event()
    body = LARGE * 12

    async def script(exchange: Exchange) -> None:
        await begin.wait()
        await tell_digest(exchange)

    async with (
        open_backend(script) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(send, client, framed(body))
        await eventually(lambda: backend.requests)
        await trio.testing.wait_all_tasks_blocked(0.03)
        assert len(nursery.child_tasks) == 1  # it is still sending
        begin.set()
        assert (await client.read_response("POST")).body == digest(body)
    assert on_slow_path == []


def answers_early(reads: int, *, closes: bool) -> Script:
    """Answers 413 when it has read so many bytes of the body; then closes, or reads the rest."""

    async def script(exchange: Exchange) -> None:
        while exchange.request.body_size < reads:
            await exchange.receive()
        await exchange.respond(b"early", 413, [("Connection", "close")] if closes else [])
        if closes:
            await exchange.close()
        else:
            await tell_digest(exchange)

    return script


@both_paths
@pytest.mark.parametrize("reads", [1, 200_000])
@pytest.mark.parametrize("closes", [False, True])
@both_framings
async def test_an_early_answer_is_delivered(
    framed: Framed, fast_path: bool, reads: int, closes: bool
) -> None:
    """And what the client has still to send is nobody's request."""
    async with (
        open_backend(answers_early(reads, closes=closes)) as backend,
        open_balancer(backend.url, health_check="off", fast_path=fast_path, retries=0) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(framed(LARGE)[:300_000])
        response = await client.read_response("POST")
        assert (response.status, response.body) == (413, b"early")
        await client.finish()
        assert (await client.read_until_close())[0] == b""
        await eventually(lambda: not balancer.statistics().client_connections)
        statistics = balancer.statistics()
        assert statistics.responses_by_class["4xx"] == statistics.requests_total == 1
        assert (statistics.total_active, statistics.servers[0].failed) == (0, 0)


@both_paths
@both_framings
async def test_a_body_that_is_partly_gone_goes_to_nobody_else(
    framed: Framed, fast_path: bool
) -> None:
    """Not even that of a method that may be repeated: the second server would get its end only."""

    async def breaks(exchange: Exchange) -> None:
        while exchange.request.body_size < 200_000:
            await exchange.receive()
        await exchange.reset()

    async with (
        open_backend(breaks) as first,
        open_backend(breaks) as second,
        open_balancer(first.url, second.url, health_check="off", fast_path=fast_path) as balancer,
        open_client(balancer.addresses[0]) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(send, client, framed(LARGE, method="PUT"))
        assert (await client.read_response("PUT")).status == 502
        nursery.cancel_scope.cancel()
        assert len(first.requests) + len(second.requests) == 1
        assert sum(server.failed for server in balancer.statistics().servers) == 1


@pytest.mark.parametrize(
    "beginning",
    [post(LARGE)[:100_000], post_chunks(LARGE[:100], end=b"fffff\r\n")],
    ids=["large", "chunked"],
)
@both_paths
async def test_a_body_that_drips_is_refused(fast_path: bool, beginning: bytes) -> None:
    """The least pace is asked of bodies that are streamed too."""
    async with (
        open_backend(tell_digest) as backend,
        open_balancer(
            backend.url,
            health_check="off",
            fast_path=fast_path,
            timeouts={"body": 1},
            limits={"min_rate": 1_000_000},
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
        trio.open_nursery() as nursery,
    ):

        async def drip() -> None:
            await send(client, beginning)
            while True:
                await trio.sleep(0.05)
                await send(client, b"x")

        began = trio.current_time()
        nursery.start_soon(drip)
        assert (await client.read_response("POST")).status == 408
        assert 1 <= trio.current_time() - began < 5
        nursery.cancel_scope.cancel()
        await eventually(lambda: not backend.open_connections)
        assert not backend.requests[0].complete
