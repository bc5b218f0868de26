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
from tests.support.net import black_hole, free_port, http_url
from trio_lb.config.address import parse_server_address
from trio_lb.errors import ConnectFailed, NameUnresolved, OutOfDescriptors, OutOfPorts
from trio_lb.net.deadlines import NEVER, TICK, Deadlines
from trio_lb.net.dial import dial
from trio_lb.net.resolver import Target, resolver
from trio_lb.net.transport import receive, send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio.testing import MockClock

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


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "unix"])
async def test_connects(host: str, tmp_path: Path, deadlines: Deadlines) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("no IPv6 on this machine")
    unix = tmp_path / "sock" if host == "unix" else None
    where = "127.0.0.1" if host in ("unix", "localhost") else host
    async with open_backend(scripts.answer(), host=where, unix=unix) as backend:
        url = backend.url.replace("127.0.0.1", host)
        transport = await dial(parse_server_address(url), 5, deadlines)
        await send(transport, GET, 1)
        assert (await receive(transport, NEVER)).startswith(b"HTTP/1.1 200 ")
        transport.close()


@pytest.mark.parametrize("kind", ["literal", "name", "unix", "no socket"])
async def test_refused(kind: str, tmp_path: Path, deadlines: Deadlines) -> None:
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
        await dial(parse_server_address(urls[kind]), 5, deadlines)
    assert caught.value.status == 502
    reason = "No such file" if kind == "unix" else "Connection refused"
    assert caught.value.reason.startswith(f"connect: {reason}")


async def test_a_name_that_is_nobodys(deadlines: Deadlines) -> None:
    async def look_up(_: str) -> list[Target]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolver().look_up = look_up
    text = r"^connect: the name does not resolve: Name or service not known$"
    with pytest.raises(NameUnresolved, match=text) as caught:
        await dial(parse_server_address("http://app.invalid:80"), 5, deadlines)
    assert caught.value.missing
    assert caught.value.local


async def test_a_look_up_without_an_end_is_not_the_servers_fault(
    deadlines: Deadlines, autojump_clock: MockClock
) -> None:
    async def look_up(_: str) -> list[Target]:
        await trio.sleep_forever()

    resolver().look_up = look_up
    for seconds in (1.0, 2.0, 2.0):  # the third does not wait for what hangs
        with pytest.raises(NameUnresolved, match="takes too long") as caught:
            await dial(parse_server_address("http://app.invalid:80"), seconds, deadlines)
        assert not caught.value.missing
    assert 3 <= trio.current_time() < 3.3


async def test_all_addresses_of_a_name_are_tried(
    deadlines: Deadlines, autojump_clock: MockClock
) -> None:
    """One refuses, one does not answer, and the third one is there."""
    addresses: list[Target] = []

    async def look_up(_: str) -> list[Target]:
        return addresses

    resolver().look_up = look_up
    with black_hole() as url, contextlib.closing(socket.socket()) as listener:
        port = int(url.rpartition(":")[2])
        listener.bind(("127.0.0.9", port))
        listener.listen()
        hosts = ["127.0.0.8", "127.0.0.1", "127.0.0.9"]
        addresses += [Target(socket.AF_INET, host) for host in hosts]
        transport = await dial(parse_server_address(f"http://app.invalid:{port}"), 2, deadlines)
        assert transport.peer == "127.0.0.9"
        transport.close()
    assert trio.current_time() < 0.5


@pytest.mark.parametrize("other", ["refused", "silent"])
async def test_what_this_host_lacks_for_one_address_is_not_the_servers_fault(
    other: str,
    deadlines: Deadlines,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    """Whatever the others say: the one that was not asked may be fine."""

    async def look_up(_: str) -> list[Target]:
        return [Target(socket.AF_INET, "127.0.0.1"), Target(socket.AF_INET, "127.0.0.2")]

    async def connect(_: int, target: tuple[str, int], __: float) -> socket.socket:
        if target[0] == "127.0.0.2":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        if other == "silent":
            await trio.sleep_forever()
        raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))

    resolver().look_up = look_up
    monkeypatch.setattr("trio_lb.net.dial._connect_one", connect)
    with pytest.raises(OutOfDescriptors, match=r"^connect: Too many open files$") as caught:
        await dial(parse_server_address("http://app.invalid:80"), 2, deadlines)
    assert caught.value.local


@pytest.mark.parametrize("unreachable", [True, False])
async def test_no_address_of_ours_is_told_from_no_port(
    unreachable: bool, deadlines: Deadlines, monkeypatch: pytest.MonkeyPatch
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
        await dial(parse_server_address("http://127.0.0.1:80"), 2, deadlines)
    assert isinstance(caught.value, OutOfPorts) is not unreachable
    reason = "Network is unreachable" if unreachable else "Cannot assign requested address"
    assert caught.value.reason == f"connect: {reason}"


async def test_the_first_address_says_why_none_could_be_reached(deadlines: Deadlines) -> None:
    async def look_up(_: str) -> list[Target]:
        return [Target(socket.AF_INET, "127.0.0.1"), Target(socket.AF_INET, "127.0.0.2")]

    resolver().look_up = look_up
    with pytest.raises(ConnectFailed, match=r"^connect: Connection refused$") as caught:
        await dial(parse_server_address(f"http://app.invalid:{free_port()}"), 2, deadlines)
    assert caught.value.refused
    assert not caught.value.local


async def test_too_slow_is_a_gateway_timeout(
    deadlines: Deadlines, autojump_clock: MockClock
) -> None:
    with black_hole() as url, pytest.raises(ConnectFailed, match="no answer within 2 s") as caught:
        await dial(parse_server_address(url), 2, deadlines)
    assert caught.value.status == 504
    assert 2 <= trio.current_time() <= 2 + 2 * TICK


async def test_cancelling_leaves_nothing_open(deadlines: Deadlines) -> None:
    with black_hole() as url, trio.CancelScope() as scope:
        scope.cancel()
        await dial(parse_server_address(url), 2, deadlines)
    assert scope.cancelled_caught  # an open socket would be a ResourceWarning


async def test_waits_for_a_full_backlog_of_a_unix_socket(
    deadlines: Deadlines, tmp_path: Path, autojump_clock: MockClock
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
            await dial(address, 1, deadlines)
        assert caught.value.status == 504
        stack.enter_context(listener.accept()[0])
        (await dial(address, 1, deadlines)).close()


async def test_running_out_of_descriptors_is_not_the_servers_fault(deadlines: Deadlines) -> None:
    address = parse_server_address(http_url("127.0.0.1", free_port()))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(ConnectFailed, match="Too many open files") as caught:
            await dial(address, 1, deadlines)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (caught.value.local, caught.value.status) == (True, 503)
