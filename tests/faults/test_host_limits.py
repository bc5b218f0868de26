"""What this host lacks is no server's fault (RELIABILITY row 38)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer, states
from tests.support.client import open_client
from tests.support.paths import both_paths
from tests.support.rig import get, post
from tests.support.tunnels import enter
from trio_lb.net.dial import Dialler, connect_failed

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from trio_lb.net.transport import SocketTransport, Transport
    from trio_lb.plan import Address

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
    """Connecting fails because this host lacks something, on both paths: to one port, or to all."""
    left = times
    dial = Dialler.dial

    def fails(address: Address) -> bool:
        nonlocal left
        if left and port in (None, address.port):
            left -= 1
            return True
        return False

    async def dial_short(
        dialler: Dialler, address: Address, seconds: float, under_way: Transport | None = None
    ) -> SocketTransport:
        await trio.lowlevel.checkpoint()
        if fails(address):
            raise connect_failed(OSError(code, os.strerror(code)))
        return await dial(dialler, address, seconds, under_way)

    monkeypatch.setattr(Dialler, "dial", dial_short)
    monkeypatch.setattr(Dialler, "beginning", lambda *_: lambda: None)


@both_paths
@pytest.mark.parametrize("code", CODES)
async def test_row_38_it_is_told_once_a_second_and_nobody_is_blamed(
    code: int,
    fast_path: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    lacking(monkeypatch, code)
    async with (
        open_backend(scripts.answer()) as one,
        open_balancer(one.url, health_check="off", fast_path=fast_path) as balancer,
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


@both_paths
async def test_row_38_without_ports_others_are_asked_and_idle_clients_stay(
    fast_path: bool, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with (
        open_backend(scripts.answer(b"one")) as one,
        open_backend(scripts.answer(b"two")) as two,
    ):
        lacking(monkeypatch, errno.EADDRNOTAVAIL, one.port)
        async with (
            open_balancer(
                one.url, two.url, health_check="off", fast_path=fast_path, retries=0
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


def not_watched(
    monkeypatch: pytest.MonkeyPatch,
    concerns: Callable[[socket.socket], bool],
    call: str = "wait_readable",
    times: int = 1 << 30,
) -> None:
    """Trio can't watch some of the sockets, as where there are no more epoll watches."""
    wait: Callable[[Any], Awaitable[None]] = getattr(trio.lowlevel, call)
    left = times

    async def wait_or_fail(sock: Any) -> None:
        nonlocal left
        if left and hasattr(sock, "getsockname") and concerns(sock):
            left -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        await wait(sock)

    monkeypatch.setattr(trio.lowlevel, call, wait_or_fail)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def leads_to(sock: socket.socket, port: int) -> bool:
    try:
        return bool(sock.getpeername()[1] == port)
    except OSError:
        return False


@both_paths
async def test_row_38_a_connection_to_a_server_that_can_not_be_watched(
    fast_path: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knows what became of the request: it is repeated if it may be, and no other one."""
    async with (
        open_backend(scripts.answer(b"one")) as one,
        open_backend(scripts.answer(b"two")) as two,
        open_balancer(
            one.url, two.url, health_check="off", fast_path=fast_path, algorithm="rr"
        ) as balancer,
    ):
        not_watched(monkeypatch, lambda sock: leads_to(sock, one.port))
        answers = []
        for number in range(4):
            odd = get("/", "TE: gzip") if number < 2 else post(b"x", "TE: gzip")
            async with open_client(balancer.addresses[0]) as client:
                await client.send(odd)
                answers.append((await client.read_response()).status)
        assert answers[:2] == [200, 200]
        assert sorted(answers[2:]) == [200, 503]
        assert states(balancer) == ["alive", "alive"]
        assert [server.failed for server in balancer.statistics().servers] == [0, 0]
    assert sum("out of epoll watches: " in text for text in caplog.messages) >= 1
    assert not [record for record in caplog.records if record.exc_info]


async def test_row_38_an_answer_under_way_is_cut_and_its_server_not_blamed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = trio.Event()

    async def in_two_pieces(exchange: Any) -> None:
        await exchange.read_body()
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234")
        await go_on.wait()

    async with (
        open_backend(in_two_pieces) as backend,
        open_balancer(backend.url, health_check="off", fast_path=False) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        waits = 0

        def second(sock: socket.socket) -> bool:
            nonlocal waits
            waits += leads_to(sock, backend.port)
            return waits > 1

        not_watched(monkeypatch, second)
        await client.send(get())
        data = (await client.read_until_close())[0]
        assert data.startswith(b"HTTP/1.1 200 ")
        assert data.endswith(b"1234")
        assert len(backend.requests) == 1
        assert states(balancer) == ["alive"]
        assert balancer.statistics().servers[0].failed == 0
        go_on.set()
    assert not [record for record in caplog.records if record.exc_info]


async def test_row_38_a_client_that_can_not_be_watched_is_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        open_backend(scripts.answer()) as backend,
        open_balancer(backend.url, health_check="off", fast_path=False) as balancer,
    ):
        port = port_of(balancer.addresses[0])
        with monkeypatch.context() as patch:
            not_watched(
                patch,
                lambda sock: is_connected(sock) and sock.getsockname()[1] == port,
            )
            async with open_client(balancer.addresses[0]) as client:
                await client.read_until_close()
        async with open_client(balancer.addresses[0]) as client:
            await client.send(get())
            assert (await client.read_response()).status == 200
    assert [text for text in caplog.messages if text.startswith("out of epoll watches: ")]
    assert not [record for record in caplog.records if record.exc_info]


def is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def no_watch(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_row_38_a_listening_socket_is_waited_for_again(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    """By the task that accepts clients where compiled code can't."""
    caplog.set_level("INFO")
    monkeypatch.setattr("trio_lb.proxy.fast_path.Acceptor", no_watch)
    not_watched(monkeypatch, lambda sock: not is_connected(sock), times=3)
    async with (
        open_backend(scripts.answer()) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        assert (await client.read_response()).status == 200
    assert [text for text in caplog.messages if "accepting is paused: out of epoll" in text]
    assert [text for text in caplog.messages if text.endswith(": accepting again")]


async def test_row_38_clients_that_the_fast_path_can_not_watch_take_the_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trio_lb.proxy.fast_path.Acceptor", no_watch)
    monkeypatch.setattr("trio_lb.proxy.fast_path.ClientSide", no_watch)
    async with (
        open_backend(scripts.answer()) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        assert (await client.read_response()).status == 200
    assert [text for text in caplog.messages if text.startswith("out of epoll watches: ")]


async def test_row_38_checks_tell_it_once_for_all_servers(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    lacking(monkeypatch, errno.EMFILE)
    async with (
        open_backend(scripts.answer()) as one,
        open_backend(scripts.answer()) as two,
        open_balancer(one.url, two.url, health_check={"interval": 10, "jitter": 0}) as balancer,
    ):
        await trio.sleep(25)
        assert states(balancer) == ["alive", "alive"]
    told = [text for text in caplog.messages if text.startswith("out of file descriptors: ")]
    assert 2 <= len(told) <= 4
    assert not [text for text in caplog.messages if "could not be checked" in text]


async def test_row_38_a_tunnel_whose_connections_can_not_be_watched_is_cut(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And no answer of ours gets into it."""
    async with (
        open_backend(scripts.switching(scripts.mirror)) as backend,
        open_balancer(backend.url, health_check="off", fast_path=False) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await enter(client)
        await client.send(b"x")
        assert await client.stream.receive_some(10) == b"x"
        not_watched(monkeypatch, lambda sock: leads_to(sock, backend.port))
        await client.send(b"y")
        data, _ = await client.read_until_close()
        assert data in (b"", b"y")
        assert states(balancer) == ["alive"]
    assert [text for text in caplog.messages if text.startswith("out of epoll watches: ")]
    assert not [record for record in caplog.records if record.exc_info]
