"""Statistics say how many requests the slow path has served, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.fast_path.test_same_outcomes import EXTENSION
from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client
from tests.support.net import free_port, http_url
from tests.support.rig import get, post_chunks
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import trio_lb
    from tests.support.backend import Script

OK = scripts.answer(b"ok")


def reasons(balancer: trio_lb.LoadBalancer) -> dict[str, int]:
    """Those that there were, and how often."""
    return {why: count for why, count in balancer.statistics().slow_path_total.items() if count}


@pytest.mark.parametrize(
    ("reason", "sent", "script", "settings"),
    [
        ("settings", get(), OK, {"fast_path": False}),
        ("upgrade", get("/", "Connection: Upgrade", "Upgrade: websocket"), OK, {}),
        ("request", get("/", "TE: gzip"), OK, {}),
        ("request", post_chunks(b"abc").replace(b"3\r\n", b"3;a=b\r\n"), OK, {}),
        ("client", get("/", "Content-Length: x"), OK, {}),
        ("client", get("/" + "a" * 9000), OK, {}),
        ("server", get(), scripts.raw(b"", reset=False), {}),
        ("response", get(), scripts.raw(EXTENSION, reset=False), {}),
    ],
)
async def test_each_is_counted(
    reason: str, sent: bytes, script: Script, settings: dict[str, Any]
) -> None:
    async with (
        open_backend(script) as server,
        open_balancer(server.url, health_check="off", **settings) as balancer,
    ):
        async with open_client(balancer.addresses[0]) as client:
            await client.send(sent)
            assert (await client.read_response()).complete
        await eventually(lambda: not balancer.statistics().client_connections)
        assert reasons(balancer) == {reason: 1}


async def test_a_server_that_refuses_is_one() -> None:
    nobody = http_url("127.0.0.1", free_port())
    async with (
        open_backend(OK) as server,
        open_balancer(nobody, server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(4):
            await client.send(get())
            assert (await client.read_response()).body == b"ok"
        assert reasons(balancer) == {"server": 1}


async def test_waiting_for_a_server_is_one() -> None:
    async with (
        open_backend(scripts.delayed(0.05, OK)) as server,
        open_balancer({"url": server.url, "max_connections": 1}, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as first,
        open_client(balancer.addresses[0]) as second,
    ):
        await first.send(get())
        await server.wait_until(lambda backend: bool(backend.requests))
        await second.send(get())
        for client in (first, second):
            await client.read_response()
        await trio.lowlevel.checkpoint()
        assert reasons(balancer) == {"no_server": 1}


async def test_ordinary_requests_are_not_counted() -> None:
    async with (
        open_backend(OK) as server,
        open_balancer(server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(3):
            await client.send(get())
            assert (await client.read_response()).body == b"ok"
        assert balancer.statistics().slow_path_total == dict.fromkeys(
            ("settings", "upgrade", "request", "client", "no_server", "server", "response"), 0
        )
