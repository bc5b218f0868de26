"""More clients than there is room for: who waits, who goes, who is turned away."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import besides_checks, open_balancer
from tests.support.client import Client, End, open_client, request
from tests.support.leaks import nothing_left
from tests.support.supervised import GET, until
from trio_lb.downstream.address_limit import address_number
from trio_lb.errors import OutOfDescriptors
from trio_lb.net.dial import Dialler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio.testing import MockClock

    import trio_lb
    from trio_lb.config import Address
    from trio_lb.net.transport import SocketTransport, Transport


@asynccontextmanager
async def open_bed(**settings: object) -> AsyncIterator[trio_lb.LoadBalancer]:
    """A balancer with one server, which answers at once."""
    with nothing_left():
        async with (
            open_backend(besides_checks(scripts.answer(b"hello"))) as backend,
            open_balancer(backend.url, **settings) as balancer,
        ):
            yield balancer


async def served(client: Client) -> None:
    """Has a request answered."""
    await client.send(GET)
    assert (await client.read_response()).body == b"hello"


async def is_open(client: Client) -> bool:
    """Whether the balancer keeps a connection."""
    with trio.move_on_after(0.1):
        assert await client.read_until_close() == (b"", End.EOF)
        return False
    return True


async def test_who_is_too_many_waits_in_the_queue(autojump_clock: MockClock) -> None:
    script = besides_checks(scripts.delayed(20, scripts.answer(b"hello")))
    async with (
        open_backend(script) as backend,
        open_balancer(backend.url, limits={"clients": 3}, timeout="1m") as balancer,
        trio.open_nursery() as nursery,
    ):
        ends: list[float] = []

        async def ask() -> None:
            async with open_client(balancer.addresses[0]) as client:
                await served(client)
            ends.append(trio.current_time())

        start = trio.current_time()
        for _ in range(7):
            nursery.start_soon(ask)
        await trio.sleep(10)
        statistics = balancer.statistics()
        assert (statistics.client_connections, statistics.client_connections_total) == (3, 3)
        assert 90 <= statistics.accepting_pauses <= 101  # each is 0.1 s
        await until(lambda: len(ends) == 7, within=100)
        waited = [round((end - start) / 20) for end in ends]
        assert waited == [1, 1, 1, 2, 2, 2, 3]
        assert balancer.statistics().client_connections_let_go == 0


async def test_the_one_idle_longest_goes_for_who_comes(autojump_clock: MockClock) -> None:
    async with (
        open_bed(limits={"clients": 3}) as balancer,
        open_client(balancer.addresses[0]) as one,
        open_client(balancer.addresses[0]) as two,
        open_client(balancer.addresses[0]) as three,
    ):
        for client in (one, two, three):
            await served(client)
            await trio.sleep(2)
        await served(one)  # is not the oldest any more
        await trio.sleep(2)
        start = trio.current_time()
        async with open_client(balancer.addresses[0]) as four:
            await served(four)
            assert trio.current_time() - start < 0.1
            assert await two.read_until_close() == (b"", End.EOF)
            for client in (one, three, four):
                await served(client)
            statistics = balancer.statistics()
            assert (statistics.client_connections, statistics.client_connections_let_go) == (3, 1)
            assert statistics.accepting_pauses == 0


async def test_those_that_never_said_anything_go_as_well(autojump_clock: MockClock) -> None:
    async with (
        open_bed(limits={"clients": 2}) as balancer,
        open_client(balancer.addresses[0]) as silent,
        open_client(balancer.addresses[0]) as begun,
    ):
        await begun.send(GET[:5])
        await trio.sleep(2)
        async with open_client(balancer.addresses[0]) as other:
            await served(other)
            assert await silent.read_until_close() == (b"", End.EOF)
            await begun.send(GET[5:])
            assert (await begun.read_response()).status == 200


async def test_who_was_served_just_now_is_not_idle(autojump_clock: MockClock) -> None:
    async with (
        open_bed(limits={"clients": 1}) as balancer,
        open_client(balancer.addresses[0]) as busy,
        trio.open_nursery() as nursery,
    ):
        await served(busy)
        came: list[float] = []

        async def come() -> None:
            async with open_client(balancer.addresses[0]) as other:
                await served(other)
                came.append(trio.current_time())

        start = trio.current_time()
        nursery.start_soon(come)
        for _ in range(10):
            await trio.sleep(0.8)
            await served(busy)
        assert not came
        assert await busy.read_until_close() == (b"", End.EOF)
        await until(lambda: came)
        assert came[0] - start == pytest.approx(9, abs=0.3)


async def test_an_eighth_of_the_idle_ones_goes_at_a_time(autojump_clock: MockClock) -> None:
    async with open_bed(limits={"clients": 24}) as balancer:
        clients = []
        async with trio.open_nursery() as nursery:

            async def idle() -> None:
                async with open_client(balancer.addresses[0]) as client:
                    clients.append(client)
                    await served(client)
                    await trio.sleep_forever()

            for _ in range(24):
                nursery.start_soon(idle)
            await trio.sleep(2)
            await request(balancer.addresses[0])
            assert balancer.statistics().client_connections_let_go == 3
            assert [await is_open(client) for client in clients].count(False) == 3
            nursery.cancel_scope.cancel()


async def test_an_address_may_have_so_many() -> None:
    async with open_bed(limits={"clients_per_address": 2}) as balancer:
        url = balancer.addresses[0]
        async with open_client(url) as one, open_client(url) as two, from_another(url) as other:
            for client in (one, two, other):
                await served(client)
            for _ in range(3):
                await refused(url)
            assert balancer.statistics().client_connections_refused == 3
            assert balancer.statistics().client_connections == 3
            one.stream.socket.close()
            await until(lambda: balancer.statistics().client_connections == 2)
            async with open_client(url) as again:
                await served(again)
                await refused(url)


async def refused(url: str) -> None:
    """Connects, and is closed at once."""
    async with open_client(url) as client:
        assert (await client.read_until_close())[0] == b""


@asynccontextmanager
async def from_another(url: str) -> AsyncIterator[Client]:
    """A client at another address."""
    sock = trio.socket.socket()
    await sock.bind(("127.0.0.2", 0))
    await sock.connect(("127.0.0.1", int(url.rpartition(":")[2])))
    async with trio.SocketStream(sock) as stream:
        yield Client(stream)


async def test_clients_of_a_unix_socket_have_no_address(tmp_path: Path) -> None:
    listen = f"unix:{tmp_path / 'socket'}"
    async with (
        open_bed(listen=listen, limits={"clients_per_address": 1}) as balancer,
        open_client(balancer.addresses[0]) as one,
        open_client(balancer.addresses[0]) as two,
    ):
        await served(one)
        await served(two)


async def test_a_trusted_proxy_may_have_any_number() -> None:
    settings = {"limits": {"clients_per_address": 1}, "trusted_proxies": ["127.0.0.1"]}
    async with (
        open_bed(**settings) as balancer,
        open_client(balancer.addresses[0]) as one,
        open_client(balancer.addresses[0]) as two,
    ):
        await served(one)
        await served(two)


async def test_whom_a_proxy_header_speaks_of_is_counted() -> None:
    listen = {"url": "http://127.0.0.1:0", "proxy_protocol": "on"}
    async with (
        open_bed(
            listen=listen, limits={"clients_per_address": 1}, trusted_proxies=["127.0.0.1"]
        ) as balancer,
        open_client(balancer.addresses[0]) as one,
        open_client(balancer.addresses[0]) as two,
        open_client(balancer.addresses[0]) as one_again,
    ):
        for client, address in ((one, "192.0.2.1"), (two, "192.0.2.2")):
            await client.send(f"PROXY TCP4 {address} 127.0.0.1 1 80\r\n".encode())
            await served(client)
        await one_again.send(b"PROXY TCP4 192.0.2.1 127.0.0.1 2 80\r\n")
        assert await one_again.read_until_close() == (b"", End.EOF)
        assert balancer.statistics().client_connections_refused == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::1%lo", True),
    ],
)
def test_addresses_that_count_as_one(one: str, other: str, same: bool) -> None:
    assert (address_number(one) == address_number(other)) is same


def leave_dialling_to_the_slow_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the fast path does itself where it meets a want of descriptors."""
    monkeypatch.setattr(Dialler, "beginning", lambda *_: lambda: None)


async def test_idle_connections_to_servers_go_for_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server can't be reached without descriptors, which idle connections hold."""
    dialled: list[int] = []

    dial = Dialler.dial

    async def dial_short(
        dialler: Dialler, address: Address, seconds: float, under_way: Transport | None = None
    ) -> SocketTransport:
        dialled.append(len(balancer._service._upstreams))
        if dialled[-1]:  # an idle connection to the other server
            raise OutOfDescriptors("connect: Too many open files")
        return await dial(dialler, address, seconds, under_way)

    leave_dialling_to_the_slow_path(monkeypatch)
    async with (
        open_backend(scripts.answer(b"one")) as one,
        open_backend(scripts.answer(b"two")) as two,
        open_balancer(one.url, two.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
        open_client(balancer.addresses[0]) as other,
    ):
        await client.send(GET)
        assert (await client.read_response()).body == b"one"
        monkeypatch.setattr(Dialler, "dial", dial_short)
        await other.send(GET)
        assert (await other.read_response()).body == b"two"
        assert dialled == [1, 0]


async def test_without_anything_idle_want_of_descriptors_is_a_503(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def dial_never(*_: object) -> SocketTransport:
        raise OutOfDescriptors("connect: Too many open files")

    leave_dialling_to_the_slow_path(monkeypatch)
    monkeypatch.setattr(Dialler, "dial", dial_never)
    async with (
        open_backend(scripts.answer()) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
    ):
        assert (await request(balancer.addresses[0])).status == 503
        assert balancer.statistics().alive_servers == 1


async def test_at_a_drain_who_waits_for_a_place_is_lost(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    script = besides_checks(scripts.delayed(5, scripts.answer(b"hello")))
    async with (
        open_backend(script) as backend,
        open_balancer(backend.url, limits={"clients": 1}) as balancer,
        open_client(balancer.addresses[0]) as client,
        open_client(balancer.addresses[0]) as waiting,
    ):
        await client.send(GET)
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(balancer.drain)
            assert (await client.read_response()).body == b"hello"
            assert await waiting.read_until_close() == (b"", End.RESET)
    assert "queued connections are lost: there are 1 clients (limits.clients)" in caplog.text
