"""Dialling: what succeeds, and which failure is whose."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.names import nobodys
from tests.support.net import black_hole, free_port, http_url
from trio_lb.config.address import parse_server_address
from trio_lb.errors import ConnectFailed, NameUnresolved, OutOfDescriptors, OutOfPorts
from trio_lb.net.deadlines import NEVER, TICK, Deadlines
from trio_lb.net.dial import HEAD_START, Dialler
from trio_lb.net.resolver import Resolver
from trio_lb.net.transport import receive, send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from trio.testing import MockClock

    from tests.support.names import Names

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
async def deadlines(nursery: trio.Nursery) -> AsyncIterator[Deadlines]:
    """Deadlines that are kept, and have nobody left in the end."""
    found = Deadlines()
    nursery.start_soon(found.watch_forever)
    yield found
    assert len(found) == 0


@pytest.fixture
async def resolver(nursery: trio.Nursery) -> Resolver:
    found = Resolver()
    nursery.start_soon(found.run)
    return found


@pytest.fixture
async def dialler(deadlines: Deadlines, resolver: Resolver) -> Dialler:
    return Dialler(resolver, deadlines)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "unix"])
async def test_connects(host: str, tmp_path: Path, dialler: Dialler) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("no IPv6 on this machine")
    unix = tmp_path / "sock" if host == "unix" else None
    where = "127.0.0.1" if host in ("unix", "localhost") else host
    async with open_backend(scripts.answer(), host=where, unix=unix) as backend:
        url = backend.url.replace("127.0.0.1", host)
        transport = await dialler.dial(parse_server_address(url), 5)
        await send(transport, GET, 1)
        assert (await receive(transport, NEVER)).startswith(b"HTTP/1.1 200 ")
        transport.close()


@pytest.mark.parametrize("kind", ["literal", "name", "unix", "no socket"])
async def test_refused(kind: str, tmp_path: Path, dialler: Dialler) -> None:
    path = tmp_path / "sock"
    if kind == "no socket":
        path.write_text("a file")
    urls = {
        "literal": http_url("127.0.0.1", free_port()),
        "name": http_url("localhost", free_port()),
        "unix": f"unix:{path}",
        "no socket": f"unix:{path}",
    }
    with pytest.raises(ConnectFailed) as caught:
        await dialler.dial(parse_server_address(urls[kind]), 5)
    assert caught.value.status == 502
    reason = "No such file" if kind == "unix" else "Connection refused"
    assert caught.value.reason.startswith(f"connect: {reason}")


APP = parse_server_address("http://app.test:80")


async def test_a_name_that_is_nobodys(dialler: Dialler, names: Names) -> None:
    names.answers["app.test"] = nobodys()
    text = r"^connect: the name does not resolve: Name or service not known$"
    with pytest.raises(NameUnresolved, match=text) as caught:
        await dialler.dial(APP, 5)
    assert caught.value.missing
    assert caught.value.local


async def test_a_look_up_without_an_end_is_not_the_servers_fault(
    dialler: Dialler, names: Names, autojump_clock: MockClock
) -> None:
    names.answers["app.test"] = None
    for seconds in (1.0, 2.0, 2.0):  # the third does not wait for what hangs
        with pytest.raises(NameUnresolved, match="takes too long") as caught:
            await dialler.dial(APP, seconds)
        assert not caught.value.missing
    assert 3 <= trio.current_time() < 3.3


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    with contextlib.closing(socket.socket()) as listener:
        listener.bind((host, port))
        listener.listen()
        yield listener


async def test_all_addresses_of_a_name_are_tried(
    dialler: Dialler, names: Names, autojump_clock: MockClock
) -> None:
    """One refuses, one does not answer, and the third one is there; from then on it is first."""
    names.answers["app.test"] = ["127.0.0.8", "127.0.0.1", "127.0.0.9"]
    with black_hole() as url:
        port = int(url.rpartition(":")[2])
        address = parse_server_address(f"http://app.test:{port}")
        with listening("127.0.0.9", port):
            for seconds in (HEAD_START, 0.0):
                began = trio.current_time()
                transport = await dialler.dial(address, 2)
                assert transport.peer == "127.0.0.9"
                assert trio.current_time() - began == pytest.approx(seconds, abs=0.01)
                transport.close()


async def test_all_attempts_together_take_no_longer_than_one_may(
    dialler: Dialler, names: Names, autojump_clock: MockClock
) -> None:
    names.answers["app.test"] = ["127.0.0.1", "127.0.0.8"]
    with black_hole() as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(ConnectFailed, match="no answer within 2 s") as caught:
            await dialler.dial(parse_server_address(f"http://app.test:{port}"), 2)
    assert not caught.value.local
    assert 2 <= trio.current_time() <= 2 + 2 * TICK


async def test_the_first_that_answers_is_taken_and_the_others_are_closed(
    dialler: Dialler, names: Names, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three that answer after a while, the second is the first: it took half as long."""
    begun: list[tuple[float, socket.socket]] = []
    seconds = {"127.0.0.7": 0.9, "127.0.0.8": 0.4, "127.0.0.9": 0.9}

    async def finish(sock: socket.socket, place: tuple[int, tuple[str, int]], _: int) -> None:
        begun.append((trio.current_time(), sock))
        await trio.sleep(seconds[place[1][0]])

    monkeypatch.setattr("trio_lb.net.dial._finish", finish)
    names.answers["app.test"] = list(seconds)
    address = parse_server_address(f"http://app.test:{free_port()}")
    transport = await dialler.dial(address, 2)
    assert transport.peer == "127.0.0.8"
    assert [when for when, _ in begun] == pytest.approx([0.0, 0.25, 0.5])
    assert [sock.fileno() >= 0 for _, sock in begun] == [False, True, False]
    transport.close()


async def test_what_is_under_way_is_the_first_attempt(
    dialler: Dialler, resolver: Resolver, names: Names, autojump_clock: MockClock
) -> None:
    """The fast path has begun: to an address that never answers, and to one that does at last."""
    names.answers["app.test"] = ["127.0.0.1", "127.0.0.9"]
    with black_hole() as url:
        port = int(url.rpartition(":")[2])
        address = parse_server_address(f"http://app.test:{port}")
        begin = dialler.beginning(address)
        assert begin() is None, "no address is known yet"
        await resolver.resolve(address)
        with listening("127.0.0.9", port):
            transport, code = begin() or pytest.fail("none")
            assert (transport.peer, code) == ("127.0.0.1", errno.EINPROGRESS)
            taken = await dialler.dial(address, 2, transport)
            assert (taken.peer, transport.fileno()) == ("127.0.0.9", -1)
            taken.close()
            transport, code = begin() or pytest.fail("none")
            assert (transport.peer, code) == ("127.0.0.9", errno.EINPROGRESS)
            assert await dialler.dial(address, 2, transport) is transport
            transport.close()


async def test_nothing_that_is_under_way_is_left_open(
    dialler: Dialler, names: Names, autojump_clock: MockClock
) -> None:
    names.answers["app.test"] = ["127.0.0.1"]
    with black_hole() as url:
        address = parse_server_address(f"http://app.test:{url.rpartition(':')[2]}")
        for cancelled in (False, True):
            transport, _ = dialler.beginning(parse_server_address(url))() or pytest.fail("none")
            with trio.CancelScope() as scope:
                if cancelled:
                    scope.cancel()
                with pytest.raises(ConnectFailed, match="no answer within 2 s"):
                    await dialler.dial(address, 2, transport)
            assert transport.fileno() == -1
            assert scope.cancelled_caught == cancelled


@pytest.mark.parametrize("refused", [True, False])
async def test_where_no_address_answers_the_name_is_looked_up_again(
    refused: bool, dialler: Dialler, names: Names, autojump_clock: MockClock
) -> None:
    """It leads somewhere else by now."""
    with black_hole() as url:
        port = int(url.rpartition(":")[2])
        address = parse_server_address(f"http://app.test:{port}")
        with listening("127.0.0.9", port):
            old = "127.0.0.8" if refused else "127.0.0.1"
            names.answers["app.test"] = [old]
            with contextlib.suppress(ConnectFailed):
                await dialler.dial(address, 0.5)
            await trio.sleep(2)
            names.answers["app.test"] = ["127.0.0.9"]
            transport = await dialler.dial(address, 0.5)
            assert transport.peer == "127.0.0.9"
            transport.close()
        assert len(names.asked) == 2, "and not twice in a second"


@pytest.mark.parametrize("other", ["refused", "silent"])
async def test_what_this_host_lacks_for_one_address_is_not_the_servers_fault(
    other: str,
    dialler: Dialler,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    """Whatever the others say: the one that was not asked may be fine."""

    async def finish(_: socket.socket, place: tuple[int, tuple[str, int]], __: int) -> None:
        if place[1][0] == "127.0.0.2":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        if other == "silent":
            await trio.sleep_forever()
        raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))

    names.answers["app.test"] = ["127.0.0.1", "127.0.0.2"]
    monkeypatch.setattr("trio_lb.net.dial._finish", finish)
    with pytest.raises(OutOfDescriptors, match=r"^connect: Too many open files$") as caught:
        await dialler.dial(APP, 2)
    assert caught.value.local


@pytest.mark.parametrize("unreachable", [True, False])
async def test_no_address_of_ours_is_told_from_no_port(
    unreachable: bool, dialler: Dialler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are EADDRNOTAVAIL: all ports are taken, or IPv6 is switched off."""

    def connect_ex(self: socket.socket, _: object) -> int:
        return errno.EADDRNOTAVAIL

    def connect(self: socket.socket, _: object) -> None:
        assert self.type == socket.SOCK_DGRAM
        if unreachable:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    monkeypatch.setattr(socket.socket, "connect_ex", connect_ex, raising=False)
    monkeypatch.setattr(socket.socket, "connect", connect, raising=False)
    with pytest.raises(ConnectFailed) as caught:
        await dialler.dial(parse_server_address("http://127.0.0.1:80"), 2)
    assert isinstance(caught.value, OutOfPorts) is not unreachable
    reason = "Network is unreachable" if unreachable else "Cannot assign requested address"
    assert caught.value.reason == f"connect: {reason}"


async def test_the_first_address_says_why_none_could_be_reached(
    dialler: Dialler, names: Names
) -> None:
    names.answers["app.test"] = ["127.0.0.1", "127.0.0.2"]
    with pytest.raises(ConnectFailed, match=r"^connect: Connection refused$") as caught:
        await dialler.dial(parse_server_address(f"http://app.test:{free_port()}"), 2)
    assert caught.value.refused
    assert not caught.value.local


async def test_too_slow_is_a_gateway_timeout(dialler: Dialler, autojump_clock: MockClock) -> None:
    with black_hole() as url, pytest.raises(ConnectFailed, match="no answer within 2 s") as caught:
        await dialler.dial(parse_server_address(url), 2)
    assert caught.value.status == 504
    assert 2 <= trio.current_time() <= 2 + 2 * TICK


async def test_cancelling_leaves_nothing_open(dialler: Dialler) -> None:
    with black_hole() as url, trio.CancelScope() as scope:
        scope.cancel()
        await dialler.dial(parse_server_address(url), 2)
    assert scope.cancelled_caught  # an open socket would be a ResourceWarning


async def test_waits_for_a_full_backlog_of_a_unix_socket(
    dialler: Dialler, tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = str(tmp_path / "sock")
    address = parse_server_address(f"unix:{path}")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        filler = stack.enter_context(socket.socket(socket.AF_UNIX))
        filler.connect(path)
        with pytest.raises(ConnectFailed) as caught:
            await dialler.dial(address, 1)
        assert caught.value.status == 504
        stack.enter_context(listener.accept()[0])
        (await dialler.dial(address, 1)).close()


async def test_running_out_of_descriptors_is_not_the_servers_fault(dialler: Dialler) -> None:
    address = parse_server_address(http_url("127.0.0.1", free_port()))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(ConnectFailed, match="Too many open files") as caught:
            await dialler.dial(address, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (caught.value.local, caught.value.status) == (True, 503)
