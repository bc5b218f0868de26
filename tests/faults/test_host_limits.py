"""What this host lacks is no server's fault (RELIABILITY row 38)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer, states
from tests.support.client import open_client
from tests.support.rig import get
from trio_lb.net.dial import connect_failed, dial

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_lb.net.deadlines import Deadlines
    from trio_lb.net.transport import SocketTransport
    from trio_lb.profile import Address

CODES = {
    errno.EMFILE: "out of file descriptors: ",
    errno.ENFILE: "out of file descriptors: ",
    errno.EADDRNOTAVAIL: "out of local ports: ",
    errno.ENOMEM: "out of memory ",
    errno.ENOBUFS: "out of memory for sockets: ",
    errno.ENOSPC: "out of epoll watches: ",
}


def lacking(
    monkeypatch: pytest.MonkeyPatch, code: int, port: int | None = None, times: int = 1 << 30
) -> None:
    """Connecting fails for want of something, from both roads: to one port, or to all."""
    left = times

    def fails(address: Address) -> bool:
        nonlocal left
        if left and port in (None, address.port):
            left -= 1
            return True
        return False

    async def dial_short(
        address: Address, seconds: float, deadlines: Deadlines, vanished_after: float
    ) -> SocketTransport:
        await trio.lowlevel.checkpoint()
        if fails(address):
            raise connect_failed(OSError(code, os.strerror(code)))
        return await dial(address, seconds, deadlines, vanished_after)

    monkeypatch.setattr("trio_lb.service.dial", dial_short)
    monkeypatch.setattr("trio_lb.proxy.road.dial_at_once", lambda *_: None)


@pytest.mark.parametrize("engine", ["plain", "h11"])
@pytest.mark.parametrize("code", CODES)
async def test_row_38_it_is_told_once_a_second_and_nobody_is_blamed(
    code: int,
    engine: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    lacking(monkeypatch, code)
    async with (
        open_backend(scripts.answer()) as one,
        open_balancer(one.url, health_check="off", engine=engine) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(25):
            await client.send(get())
            assert (await client.read_response()).status == 503
            await trio.sleep(0.1)
        assert states(balancer) == ["alive"]
        assert balancer.statistics().servers[0].failed == 0
    told = [text for text in caplog.messages if text.startswith(CODES[code])]
    assert len(told) == 3


@pytest.mark.parametrize("engine", ["plain", "h11"])
async def test_row_38_without_ports_others_are_asked_and_idle_clients_stay(
    engine: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with (
        open_backend(scripts.answer(b"one")) as one,
        open_backend(scripts.answer(b"two")) as two,
    ):
        lacking(monkeypatch, errno.EADDRNOTAVAIL, one.port)
        async with (
            open_balancer(
                one.url, two.url, health_check="off", engine=engine, retries=0
            ) as balancer,
            open_client(balancer.addresses[0]) as idle,
            open_client(balancer.addresses[0]) as client,
        ):
            await idle.send(get())
            assert (await idle.read_response()).body == b"two"
            await trio.sleep(2)
            for _ in range(4):
                await client.send(get(method="POST"))
                assert (await client.read_response()).status == 200
            assert states(balancer) == ["alive", "alive"]
            assert balancer.statistics().client_connections_let_go == 0
            await idle.send(get())
            assert (await idle.read_response()).status == 200
