"""Listening: what is bound, and an accept loop that goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import socket
import stat
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.net import dial, free_port, http_url
from trio_lb.config import parse_listen_address
from trio_lb.errors import ListenError
from trio_lb.net import listen as listen_module
from trio_lb.net.deadlines import Deadlines
from trio_lb.net.listen import Listener, bind_listeners, open_listeners
from trio_lb.net.unix_paths import OURS, UNIX_MODE, Owner
from trio_lb.plan import ListenerPlan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio.testing import MockClock

    from trio_lb.net.transport import SocketTransport


def listen(url: str) -> ListenerPlan:
    return ListenerPlan(address=parse_listen_address(url))


@contextlib.asynccontextmanager
async def opened(*urls: str) -> AsyncIterator[list[Listener]]:
    """Listeners on these addresses, closed in the end."""
    listeners = await open_listeners(map(listen, urls))
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()
            listener.close()


async def test_says_which_port_the_system_chose() -> None:
    async with opened("http://127.0.0.1:0", "http://127.0.0.1:0") as listeners:
        ports = {listener.address.port for listener in listeners}
        assert len(ports) == 2
        assert 0 not in ports
        for listener in listeners:
            (await dial(str(listener.address))).socket.close()


async def test_every_interface_in_both_families_on_one_port() -> None:
    async with opened("http://*:0") as listeners:
        assert len({listener.address.port for listener in listeners}) == 1
        (await dial(http_url("127.0.0.1", listeners[0].address.port))).socket.close()


@pytest.mark.parametrize("missing", ["socket", "address"])
@pytest.mark.parametrize("reuse_port", [False, True])
async def test_without_ipv6_every_interface_is_those_of_ipv4(
    missing: str, reuse_port: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that was built without it, and one where it is disabled."""

    class Without(socket.socket):
        def __init__(self, family: int = -1, *rest: int, **more: int) -> None:
            if family == socket.AF_INET6 and missing == "socket":
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            super().__init__(family, *rest, **more)

        def bind(self, address: object) -> None:
            if self.family == socket.AF_INET6:
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
            super().bind(address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "socket", Without)
    port = free_port()
    for url in (f"http://*:{port}", "http://*:0"):
        (listener,) = await bind_listeners([listen(url)], reuse_port=reuse_port)
        listener.listen()
        port = listener.address.port
        with socket.create_connection(("127.0.0.1", port)):
            pass
        listener.close()
    for url in (f"http://[::]:{port}", f"http://[::1]:{port}"):  # IPv6, and nothing else
        with pytest.raises(ListenError, match=r"not supported|Cannot assign"):
            await bind_listeners([listen(url)], reuse_port=reuse_port)


async def test_all_or_none_is_bound() -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        in_use = taken.getsockname()[1]
        addresses = (f"http://127.0.0.1:{port}", f"http://127.0.0.1:{in_use}")
        with pytest.raises(ListenError) as caught:
            await open_listeners(map(listen, addresses))
    assert str(caught.value) == f"cannot listen on {addresses[1]}: Address already in use"
    with socket.socket() as probe:  # the first one was closed again
        probe.bind(("127.0.0.1", port))


async def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(ListenError, match=r"^cannot listen on http://192\.0\.2\.1:80\d\d: "):
        await open_listeners([listen("http://192.0.2.1:8080")])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_whose_a_unix_socket_is(tmp_path: Path) -> None:
    address = parse_listen_address(f"unix:{tmp_path}/x.sock")
    own = pwd.getpwnam("nobody")
    at = partial(ListenerPlan, address=address)
    for each, owner, expected in (
        (at(), OURS, (0, 0, 0o660)),
        (at(), Owner(12, 34), (12, 34, 0o660)),
        (at(mode=0o606), Owner(12, 34), (12, 34, 0o606)),
        (
            at(owner="nobody"),
            Owner(12, 34),
            (own.pw_uid, own.pw_gid, 0o660),
        ),
        (at(group="56"), Owner(12, 34), (12, 56, 0o660)),
        (at(owner="4321", group="56"), OURS, (4321, 56, 0o660)),
    ):
        (listener,) = await bind_listeners([each], owner=owner)
        status = os.stat(tmp_path / "x.sock")
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == expected
        listener.close()


async def test_a_socket_that_cannot_be_given_away_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", refuse)
    listen = ListenerPlan(address=parse_listen_address(f"unix:{tmp_path}/x.sock"), owner="54321")
    with pytest.raises(
        ListenError, match=r"x\.sock: its owner or group can't be set: Operation not permitted$"
    ):
        await bind_listeners([listen])
    assert os.listdir(tmp_path) == []


async def test_looking_up_an_owner_has_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    monkeypatch.setattr(listen_module, "_LOOK_UP", 0.1)
    monkeypatch.setattr(listen_module, "rights_of", lambda *_: asked.wait(5))
    with pytest.raises(ListenError, match=r"looking up its owner timed out after 0\.1 s$"):
        await bind_listeners([listen(f"unix:{tmp_path}/x.sock")])
    asked.set()


async def test_a_unix_socket_and_its_end(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    async with opened(f"unix:{path}"):
        assert stat.S_IMODE(path.stat().st_mode) == UNIX_MODE
        (await trio.open_unix_socket(str(path))).socket.close()
    assert not path.exists()


async def test_a_stale_unix_socket_is_replaced_but_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    async with opened(f"unix:{path}"):
        with pytest.raises(ListenError, match="Address already in use"):
            await open_listeners([listen(f"unix:{path}")])
        (await trio.open_unix_socket(str(path))).socket.close()


async def test_a_file_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    path.write_text("precious")
    with pytest.raises(ListenError, match="Address already in use"):
        await open_listeners([listen(f"unix:{path}")])
    assert path.read_text() == "precious"


@pytest.mark.parametrize("unix", [False, True])
async def test_clients_are_handed_over_with_their_address(unix: bool, tmp_path: Path) -> None:
    url = f"unix:{tmp_path / 'sock'}" if unix else "http://127.0.0.1:0"
    deadlines = Deadlines()
    accepted: list[SocketTransport] = []
    async with opened(url) as [listener], trio.open_nursery() as nursery:
        nursery.start_soon(listener.accept_forever, accepted.append, deadlines, Room())
        clients = [await dial(str(listener.address)) for _ in range(100)]
        while len(accepted) < 100:
            await trio.lowlevel.checkpoint()
        assert {transport.peer for transport in accepted} == {"unix:" if unix else "127.0.0.1"}
        for transport in accepted:
            transport.close()
        for client in clients:
            client.socket.close()
        nursery.cancel_scope.cancel()


async def test_connections_are_tuned() -> None:
    """On Linux by the listening socket, whoever bound it."""
    accepted: list[SocketTransport] = []
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        address = parse_listen_address(f"http://127.0.0.1:{sock.getsockname()[1]}")
        listener = Listener(sock, address)
        client = await dial(str(address))
        await trio.lowlevel.wait_readable(sock)
        listener.accept_some(accepted.append, Deadlines(), Room())
        with socket.socket(fileno=os.dup(accepted[0].fileno())) as same:
            assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert accepted[0].ends() == (client.socket.getsockname(), sock.getsockname())
        accepted[0].close()
        client.socket.close()


class Room:
    """A limiter with so many places, which counts what it is asked."""

    def __init__(self, places: int = 1_000_000, idle: int = 0) -> None:
        self.permits = places
        self.idle = idle
        self.asked: list[bool] = []

    def try_acquire(self) -> str | None:
        if not self.permits:
            return "there is no place"
        self.permits -= 1
        return None

    def release(self) -> None:
        self.permits += 1

    def evict(self, *, descriptors: bool) -> bool:
        self.asked.append(descriptors)
        if not self.idle:
            return False
        self.idle -= 1
        self.permits += 1
        return True


class _Exhausted(socket.socket):
    """A listening socket that is out of descriptors for a while."""

    errors: list[OSError]

    def accept(self) -> tuple[socket.socket, object]:
        if self.errors:
            raise self.errors.pop(0)
        return super().accept()


async def test_errors_of_accept_pause_or_are_passed_over(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    exhausted = [OSError(24, os.strerror(24)) for _ in range(3)]
    with _Exhausted() as sock:
        sock.errors = [OSError(103, os.strerror(103)), *exhausted]
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        address = parse_listen_address(f"http://127.0.0.1:{sock.getsockname()[1]}")
        listener = Listener(sock, address)
        accepted: list[SocketTransport] = []
        client = await dial(str(address))
        with trio.move_on_after(1):
            await listener.accept_forever(accepted.append, Deadlines(), Room())
        client.socket.close()
        accepted[0].close()
    assert [record.message for record in caplog.records] == [
        f"{address}: accepting is paused: Too many open files",
        f"{address}: accepting again",
    ]


class _Scarce(socket.socket):
    """A listening socket in a process whose descriptors come and go.

    Attributes:
        left: descriptors that there are.
        asked: how often `accept` was called.
    """

    left = 0
    asked = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        if not self.left:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        taken = super().accept()
        self.left -= 1
        return taken


@contextlib.asynccontextmanager
async def scarce(clients: int) -> AsyncIterator[tuple[_Scarce, list[SocketTransport]]]:
    """A socket that accepts as far as there are descriptors, so many clients in its queue, and
    those that were accepted.
    """
    accepted: list[SocketTransport] = []
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(_Scarce())
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen(clients)
        address = parse_listen_address(f"http://127.0.0.1:{sock.getsockname()[1]}")
        for _ in range(clients):
            stack.callback((await dial(str(address))).socket.close)
        async with trio.open_nursery() as nursery:
            accept = Listener(sock, address).accept_forever
            nursery.start_soon(accept, accepted.append, Deadlines(), Room())
            yield sock, accepted
            nursery.cancel_scope.cancel()
        for transport in accepted:
            transport.close()


async def test_row_13_out_of_descriptors_costs_no_work_and_one_line(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Scale: 60 s, virtual, with clients in the queue all the time."""
    caplog.set_level("INFO")
    async with scarce(clients=3) as (sock, accepted):
        await trio.sleep(60)
        assert 60 <= sock.asked <= 60 * 11, "a busy loop, or none"
        assert len(caplog.records) == 1
        assert not accepted
        sock.left = 100
        await trio.sleep(1)
        assert len(accepted) == 3
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "accepting is paused: Too many open files",
        "accepting again",
    ]


async def test_row_13_descriptors_that_come_and_go_do_not_flood_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Scale: 40 s, virtual; each of 100 clients finds none, and some a moment later."""
    caplog.set_level("INFO")
    async with contextlib.AsyncExitStack() as stack:
        sock, accepted = await stack.enter_async_context(scarce(clients=0))
        for number in range(100):
            client = await dial(http_url(*sock.getsockname()))
            stack.callback(client.socket.close)
            await trio.sleep(0.2)
            assert len(accepted) == number
            sock.left = 2  # accept(2) wants one also to find that nobody is there
            await trio.sleep(0.2)
            assert len(accepted) == number + 1
            sock.left = 0
    messages = [record.message.partition(": ")[2].partition(":")[0] for record in caplog.records]
    assert 4 <= len(messages) <= 40
    assert messages == ["accepting is paused", "accepting again"] * (len(messages) // 2)


async def test_places_are_taken_for_clients_alone() -> None:
    deadlines, room = Deadlines(), Room(5)
    accepted: list[SocketTransport] = []
    async with opened("http://127.0.0.1:0") as [listener]:
        assert listener.accept_some(accepted.append, deadlines, room) is None
        assert room.permits == 5
        clients = [await dial(str(listener.address)) for _ in range(7)]
        assert listener.accept_some(accepted.append, deadlines, room, 2) is None
        assert (len(accepted), room.permits) == (2, 3)
        want = listener.accept_some(accepted.append, deadlines, room)
        assert want == ("there is no place", False)
        assert (len(accepted), room.permits) == (5, 0)
        for transport in accepted:
            transport.close()
        for client in clients:
            client.socket.close()


async def test_without_places_clients_wait_until_idle_ones_have_gone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    room = Room(1, idle=1)
    accepted: list[SocketTransport] = []
    async with opened("http://127.0.0.1:0") as [listener], trio.open_nursery() as nursery:
        nursery.start_soon(listener.accept_forever, accepted.append, Deadlines(), room)
        clients = [await dial(str(listener.address)) for _ in range(3)]
        await trio.sleep(1)
        assert len(accepted) == 2
        assert 10 <= len(room.asked) <= 12  # every 0.1 s, and not in a busy loop
        room.permits = 1
        await trio.sleep(0.2)
        assert len(accepted) == 3
        for transport in accepted:
            transport.close()
        for client in clients:
            client.socket.close()
        nursery.cancel_scope.cancel()
    assert [record.message for record in caplog.records] == [
        f"{listener.address}: accepting is paused: there is no place",
        f"{listener.address}: accepting again",
    ]


async def test_a_place_is_not_lost_with_a_client_that_could_not_be_accepted() -> None:
    room = Room(5)
    with _Exhausted() as sock:
        sock.errors = [OSError(24, os.strerror(24)), OSError(9, os.strerror(9))]
        sock.setblocking(False)
        listener = Listener(sock, parse_listen_address("http://127.0.0.1:1"))
        want = listener.accept_some(lambda _: None, Deadlines(), room)
        assert want == ("Too many open files", True)
        with pytest.raises(OSError, match="Bad file descriptor"):
            listener.accept_some(lambda _: None, Deadlines(), room)
    assert room.permits == 5
