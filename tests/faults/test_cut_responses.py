"""Responses that their server cuts short (RELIABILITY row 2): never taken for whole ones."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks, open_balancer
from tests.support.client import End, open_client, request
from tests.support.fault_proxy import open_fault_proxy

if TYPE_CHECKING:
    from tests.support.backend import Exchange, Script

BODY = bytes(range(97, 123)) * 2
HEADS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
}
BODIES = {
    "length": BODY,
    "chunked": scripts.chunk(BODY[:20]) + scripts.chunk(BODY[20:]) + b"0\r\nX-Sum: 1\r\n\r\n",
}


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_row_2_cut_at_every_byte_of_the_body(framing: str, reset: bool) -> None:
    """About 300 cuts in all; the other server is never asked."""
    head, body = HEADS[framing], BODIES[framing]
    cut: Script = scripts.answer()

    async def script(exchange: Exchange) -> None:
        await cut(exchange)

    async with (
        open_backend(besides_checks(script)) as one,
        open_backend(besides_checks(script)) as two,
        open_balancer(one.url, two.url) as balancer,
    ):
        for length in range(len(body)):
            cut = scripts.raw(head + body[:length], reset=reset)
            before = len(asked(one)) + len(asked(two))
            response = await request(balancer.addresses[0])
            assert not response.complete, (length, response)
            assert BODY.startswith(response.body)
            if response.status:
                assert len(asked(one)) + len(asked(two)) == before + 1
        cut = scripts.raw(head + body, reset=False)
        response = await request(balancer.addresses[0])
        assert (response.complete, response.body) == (True, BODY)
        assert balancer.statistics().total_active == 0


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_row_2_cut_at_every_byte_of_the_head(framing: str) -> None:
    head = HEADS[framing]
    script: Script = scripts.answer()

    async def cut(exchange: Exchange) -> None:
        await script(exchange)

    async with (
        open_backend(besides_checks(cut)) as backend,
        open_balancer(backend.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for length in range(len(head)):
            script = scripts.raw(head[:length], reset=length % 2 == 0)
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            response = await client.read_response()
            assert (response.status, response.complete) == (502, True)


async def test_row_2_large_bodies_cut_anywhere() -> None:
    """200 cuts, seeded."""
    rng = random.Random(2)
    size = 300_000
    async with (
        open_backend(besides_checks(scripts.bulk(size))) as backend,
        open_fault_proxy(backend.url) as proxy,
        open_balancer(proxy.url, health_check="off") as balancer,
    ):
        for _ in range(200):
            proxy.to_client.cut_after = rng.randrange(100, size)
            proxy.to_client.cut_with_reset = rng.random() < 0.5
            response = await request(balancer.addresses[0])
            assert not response.complete
        proxy.heal()
        response = await request(balancer.addresses[0])
        assert (response.complete, len(response.body)) == (True, size)


async def test_row_2_an_unframed_response_is_cut_by_a_reset() -> None:
    cut = scripts.raw(b"HTTP/1.1 200 OK\r\n\r\nsome of it", reset=True)
    async with (
        open_backend(besides_checks(cut)) as backend,
        open_balancer(backend.url) as balancer,
    ):
        for _ in range(20):
            assert not (await request(balancer.addresses[0])).complete


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_row_2_an_old_client_sees_it_by_a_reset_or_by_the_length(framing: str) -> None:
    """To HTTP/1.0 a chunked body goes out unframed: only a reset can say that it was cut."""
    cut = scripts.raw(HEADS[framing] + BODIES[framing][:40], reset=False)
    async with (
        open_backend(besides_checks(cut)) as backend,
        open_balancer(backend.url) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        data, end = await client.read_until_close()
        if framing == "length":
            assert data.lower().count(b"content-length: 52") == 1
            assert len(data.partition(b"\r\n\r\n")[2]) < 52
        else:
            assert end is End.RESET


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_row_2_a_cut_is_counted_and_logged_as_a_failure(method: str) -> None:
    cut = scripts.cut_body(b"some", 10, reset=True)
    async with (
        open_backend(besides_checks(cut)) as backend,
        open_balancer(backend.url) as balancer,
    ):
        assert not (await request(balancer.addresses[0], method)).complete
        (server,) = balancer.statistics().servers
        assert (server.served, server.failed, server.active, server.state) == (0, 1, 0, "alive")
