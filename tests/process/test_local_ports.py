"""Out of local ports, in earnest: in a network of its own that has few (RELIABILITY row 38)."""

from __future__ import annotations

import ctypes
import shutil
import socket
import subprocess
import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.client import Client, open_client
from tests.support.paths import both_paths
from tests.support.supervised import GET, run_supervisor, until

if TYPE_CHECKING:
    from pathlib import Path

PORTS = 10
CLIENTS = 40

#: Starts a program in a network of its own, with so many local ports.
FEW_PORTS = [
    "unshare",
    "--net",
    "sh",
    "-c",
    f"""ip link set lo up &&
    echo 20000 {20000 + PORTS - 1} >/proc/sys/net/ipv4/ip_local_port_range && exec "$@" """,
    "sh",
]


def _can_unshare() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run([*FEW_PORTS, "true"], capture_output=True).returncode == 0


def listen_beside(pid: int) -> socket.socket:
    """A listening socket in the network of another process, on port 8000."""
    found: list[socket.socket] = []

    def listen() -> None:  # the thread goes there, and ends there
        with open(f"/proc/{pid}/ns/net") as network:
            if ctypes.CDLL(None).setns(network.fileno(), 0):
                return
        found.append(socket.create_server(("127.0.0.1", 8000), backlog=100))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    (sock,) = found
    sock.setblocking(False)
    return sock


@pytest.mark.skipif(not _can_unshare(), reason="no network namespaces here (or no `ip`)")
@both_paths
async def test_row_38_more_requests_than_ports(fast_path: bool, tmp_path: Path) -> None:
    """Who gets no port gets a 503, and the server no blame; with ports, all is served again."""
    go_on = trio.Event()
    statuses: list[int] = []
    served = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal served
        while await stream.receive_some():
            served += 1
            await go_on.wait()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def ask(client: Client) -> None:
        await client.send(GET)
        statuses.append((await client.read_response()).status)

    path = tmp_path / "socket"
    async with run_supervisor(
        tmp_path,
        "http://127.0.0.1:8000",
        listen=f"unix:{path}",
        health_check="off",
        workers=1,
        fast_path=fast_path,
        through=FEW_PORTS,
    ) as balancer:
        sock = trio.socket.from_stdlib_socket(listen_beside(balancer.child.pid))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(sock)])
            async with AsyncExitStack() as stack:
                clients = [
                    await stack.enter_async_context(open_client(f"unix:{path}"))
                    for _ in range(CLIENTS)
                ]
                async with trio.open_nursery() as asking:
                    for client in clients:
                        asking.start_soon(ask, client)
                    await until(lambda: served + len(statuses) == CLIENTS)
                    assert statuses == [503] * (CLIENTS - PORTS)
                    go_on.set()
                assert statuses[-PORTS:] == [200] * PORTS
                statuses.clear()
                for client in clients:
                    await ask(client)
                assert statuses == [200] * CLIENTS
            nursery.cancel_scope.cancel()
        text = balancer.child.output
    assert "out of local ports: " in text
    assert "dead" not in text
