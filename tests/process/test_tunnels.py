"""Tunnels through whole programs, and what reloads and stops do to them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.client import End, open_client
from tests.support.peers import run_websocket_server
from tests.support.supervised import is_gone, run_supervisor, until
from tests.support.tunnels import enter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.supervised import Program


async def say(websocket: WebSocketConnection, text: str) -> None:
    """Says something that comes back."""
    await websocket.send_message(text)
    assert await websocket.get_message() == text


def websocket_url(balancer: Program) -> str:
    return balancer.url.replace("http:", "ws:")


async def test_a_tunnel_outlives_a_reload(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"health_check": "off", "timeouts": {"drain": "30s"}}
    async with (
        run_websocket_server() as server,
        run_supervisor(tmp_path, server, **settings) as balancer,
    ):
        old = balancer.pids
        async with open_websocket_url(websocket_url(balancer)) as websocket:
            await say(websocket, "before")
            balancer.write([server], **settings, retries=1)  # which takes new workers
            balancer.child.signal(signal.SIGHUP)
            await balancer.child.wait_line("reloaded: 1 server,")
            await until(lambda: len(set(balancer.pids) & set(old)) == 1)
            (last,) = set(balancer.pids) & set(old)
            for number in range(3):
                await say(websocket, f"still {number}")
                await trio.sleep(0.2)
            async with open_websocket_url(websocket_url(balancer)) as other:
                await say(other, "in a new worker")
            assert not is_gone(last)
        await until(lambda: is_gone(last))
        balancer.child.signal(signal.SIGTERM)
        assert await balancer.child.wait() == 0


async def test_a_tunnel_ends_with_the_drain_time_of_its_worker(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"health_check": "off", "timeouts": {"drain": "2s"}}
    async with (
        open_backend(scripts.switching(scripts.mirror)) as backend,
        run_supervisor(tmp_path, backend.url, **settings) as balancer,
        open_client(balancer.url) as client,
    ):
        tunnel = await enter(client)
        balancer.child.signal(signal.SIGTERM)
        await trio.sleep(0.5)
        await tunnel.send(b"in the drain")
        assert await tunnel.receive(12) == b"in the drain"
        assert await tunnel.receive_all() == (b"", End.RESET)
        assert await balancer.child.wait() == 1
        assert "drain timeout: 1 client connections are closed" in balancer.child.output
