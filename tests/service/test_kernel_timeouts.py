"""What the kernel is told of a profile's times: it ends nothing that the profile lets go on."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client
from tests.support.paths import both_paths
from tests.support.rig import get

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="options and /proc of Linux")


def options(port: int) -> Iterator[tuple[bool, int, int, int]]:
    """Of each of our TCP connections: whether it came in at this port, and what the kernel is told.

    Those are keep-alive's idle time, its interval, and TCP_USER_TIMEOUT. Peers in the tests set
    nothing of the kind.
    """
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError), socket.socket(fileno=os.dup(int(name))) as sock:
            sock.getpeername()
            if sock.type == socket.SOCK_STREAM and sock.getsockopt(
                socket.SOL_SOCKET, socket.SO_KEEPALIVE
            ):
                names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_USER_TIMEOUT)
                idle, between, unsent = (
                    sock.getsockopt(socket.IPPROTO_TCP, option) for option in names
                )
                yield sock.getsockname()[1] == port, idle, between, unsent


@both_paths
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_they_follow_the_profile(fast_path: bool, host: str) -> None:
    async with (
        open_backend(scripts.answer()) as backend,
        open_balancer(
            f"http://{host}:{backend.port}",
            fast_path=fast_path,
            timeouts={"body": "120s"},
            health_check="off",
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        assert (await client.read_response()).status == 200
        port = int(balancer.addresses[0].rpartition(":")[2])
        # No time of its own for who takes nothing: TCP_USER_TIMEOUT would also end connections to
        # peers that only pause, whatever it is.
        assert sorted(options(port)) == [(False, 60, 20, 0), (True, 60, 20, 0)]
