"""HTTP libraries of Python, before a balancer in the test's process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import httpx
import pytest
import requests
import trio

from tests.support.backend import open_backend
from tests.support.balancer import besides_checks, open_balancer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.support.backend import Exchange

BODY = b"".join(b"%07d\n" % number for number in range(50_000))
PIECES = [BODY[at : at + 9999] for at in range(0, len(BODY), 9999)]

#: Status, method as the server saw it, body.
Answer = tuple[int, str, bytes]

WANTED: list[Answer] = [
    (200, "GET", b""),
    (404, "DELETE", b""),
    (201, "POST", BODY),
    (200, "PUT", BODY),
]


async def reflect(exchange: Exchange) -> None:
    """The body comes back in chunks, with the status that the path says."""
    body = await exchange.read_body()
    request = exchange.request
    await exchange.respond(
        body, int(request.target.strip("/")), [("X-Method", request.method), ("Set-Cookie", "a=b")]
    )


def with_httpx(url: str) -> list[Answer]:
    def pieces() -> Iterator[bytes]:
        yield from PIECES

    with httpx.Client(base_url=url) as client:
        responses = [
            client.get("/200"),
            client.delete("/404"),
            client.post("/201", content=BODY),
            client.put("/200", content=pieces()),
        ]
    return [(each.status_code, each.headers["x-method"], each.content) for each in responses]


def with_requests(url: str) -> list[Answer]:
    with requests.Session() as session:
        responses = [
            session.get(f"{url}/200"),
            session.delete(f"{url}/404"),
            session.post(f"{url}/201", data=BODY),
            session.put(f"{url}/200", data=iter(PIECES)),
        ]
        assert session.cookies["a"] == "b"
    return [(each.status_code, each.headers["X-Method"], each.content) for each in responses]


def with_aiohttp(url: str) -> list[Answer]:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in PIECES:
            yield piece

    async def talk() -> list[Answer]:
        answers = []
        async with aiohttp.ClientSession(url) as session:
            for method, target, data, expect in (
                ("GET", "/200", None, False),
                ("DELETE", "/404", None, False),
                ("POST", "/201", BODY, True),
                ("PUT", "/200", pieces(), False),
            ):
                async with session.request(method, target, data=data, expect100=expect) as response:
                    body = await response.read()
                    answers.append((response.status, response.headers["X-Method"], body))
        return answers

    return asyncio.run(talk())


@pytest.mark.parametrize("talk", [with_httpx, with_requests, with_aiohttp])
async def test_python_client(talk: Callable[[str], list[Answer]]) -> None:
    async with (
        open_backend(besides_checks(reflect)) as backend,
        open_balancer(backend.url) as balancer,
    ):
        url = balancer.addresses[0]
        assert await trio.to_thread.run_sync(talk, url) == WANTED
        statistics = balancer.statistics()
        assert statistics.client_connections_total == 1
        assert statistics.servers[0].failed == 0
