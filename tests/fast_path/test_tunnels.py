"""Tunnels in compiled code: the same outcome as on the slow path, without a wake-up per message."""

from __future__ import annotations

import errno
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support.backend import End as BackendEnd
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import End, open_client
from tests.support.leaks import assert_even
from tests.support.paths import both_paths
from tests.support.scripts import mirror, switching
from tests.support.tunnels import enter
from tests.support.waiting import eventually
from trio_lb.net.deadlines import TICK
from trio_lb.proxy import tunnel as slow_path
from trio_lb.proxy.request import RequestHandler

if TYPE_CHECKING:
    import trio_lb
    from tests.support.backend import Exchange
    from trio_lb.observe.record import Record

ECHO = switching(mirror)


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """Those of all tunnels that are over."""
    found: list[Record] = []
    over = RequestHandler.over

    def noted(self: RequestHandler, record: Record) -> None:
        over(self, record)
        record.over(trio.current_time())
        found.append(record)

    monkeypatch.setattr(RequestHandler, "over", noted)
    return found


@pytest.fixture(autouse=True)
def on_slow_relay(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each tunnel that the slow path has relayed."""
    relayed: list[str] = []
    relay = slow_path.relay

    async def noted(*arguments: Any) -> Any:
        relayed.append("tunnel")
        return await relay(*arguments)

    monkeypatch.setattr(slow_path, "relay", noted)
    return relayed


async def gone(balancer: trio_lb.LoadBalancer) -> None:
    """Waits until no client is connected; then all has come out even."""
    await eventually(lambda: not balancer.statistics().client_connections)
    assert_even(balancer)


def borrowed(balancer: trio_lb.LoadBalancer) -> int:
    """Buffers that tunnels of the fast path have."""
    plain = balancer._service._plain
    return plain.fast_path.borrowed if plain else 0


def told(records: list[Record]) -> list[tuple[int, str, int, int]]:
    """Status, end, bytes to and from the client of each tunnel."""
    return [(each.status, each.reason, each.bytes_sent, each.bytes_received) for each in records]


@both_paths
async def test_what_came_with_the_heads_goes_first_and_all_is_counted(
    fast_path: bool, records: list[Record], on_slow_relay: list[str]
) -> None:
    async with (
        open_backend(switching(mirror, behind=b"first")) as server,
        open_balancer(server.url, health_check="off", fast_path=fast_path) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        tunnel = await enter(client, b"early")
        assert await tunnel.receive(10) == b"firstearly"
        await tunnel.send(b"x" * 100)
        assert await tunnel.receive(100) == b"x" * 100
        assert balancer.statistics().total_active == 1
        assert not records
        await client.finish()
        assert await tunnel.receive_all() == (b"", End.EOF)
        await gone(balancer)
        (counters,) = balancer.statistics().servers
        assert (counters.served, counters.failed) == (1, 0)
        assert (counters.bytes_received, counters.bytes_sent) == (110, 105)
    assert told(records) == [(101, "ok", 110, 105)]
    assert bool(on_slow_relay) is not fast_path


@both_paths
@pytest.mark.parametrize("size", [33_000, 60_000])
async def test_more_than_a_buffer_that_came_with_the_heads(fast_path: bool, size: int) -> None:
    data = bytes(range(250)) * (size // 250)
    async with (
        open_backend(switching(mirror, behind=data)) as server,
        open_balancer(server.url, health_check="off", fast_path=fast_path) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        tunnel = await enter(client, data)
        assert await tunnel.receive(2 * size) == data + data
        assert borrowed(balancer) == 0
        await client.finish()
        assert await tunnel.receive_all() == (b"", End.EOF)
        await gone(balancer)


@both_paths
@pytest.mark.parametrize("first", ["client", "server"])
async def test_one_side_ends_and_the_other_goes_on(
    first: str, fast_path: bool, records: list[Record]
) -> None:
    got: list[bytes] = []

    async def talk(exchange: Exchange) -> None:
        stream = exchange.connection.stream
        if first == "server":
            await stream.send_all(b"bye")
            await stream.send_eof()
        while data := await stream.receive_some(100):
            got.append(data)
        if first == "client":
            for _ in range(3):
                await stream.send_all(b"more")
                await trio.sleep(0.001)

    async with (
        open_backend(switching(talk)) as server,
        open_balancer(
            {"url": server.url, "max_connections": 1}, health_check="off", fast_path=fast_path
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        tunnel = await enter(client)
        if first == "client":
            await tunnel.send(b"bye")
            await client.finish()
            assert await tunnel.receive_all() == (b"more" * 3, End.EOF)
        else:
            assert await tunnel.receive_all() == (b"bye", End.EOF)
            assert balancer.statistics().total_active == 0  # its slot is free already
            for _ in range(3):
                await tunnel.send(b"more")
                await trio.sleep(0.001)
            await client.finish()
        await gone(balancer)
    assert b"".join(got) == (b"bye" if first == "client" else b"more" * 3)
    sizes = (12, 3) if first == "client" else (3, 12)
    assert told(records) == [(101, "ok", *sizes)]


@both_paths
@pytest.mark.parametrize("slow", ["client", "server"])
async def test_who_does_not_read_is_not_sent_more_and_nothing_is_lost(
    slow: str, fast_path: bool, records: list[Record]
) -> None:
    """What is on its way is bounded, and the other direction goes on."""
    size, sent = 1 << 25, 0
    read = trio.Event()
    data = bytes(range(256)) * 256

    async def push(stream: Any) -> None:
        nonlocal sent
        while sent < size:
            await stream.send_all(data)
            sent += len(data)
        await stream.send_eof()

    async def take(stream: Any) -> bytes:
        await read.wait()
        taken = bytearray()
        while piece := await stream.receive_some(1 << 16):
            taken += piece
        return bytes(taken)

    async def talk(exchange: Exchange) -> None:
        stream = exchange.connection.stream
        if slow == "client":
            for _ in range(3):
                assert await stream.receive_some(4) == b"tick"
            await push(stream)
        else:
            await stream.send_all(b"tick" * 3)
            assert await take(stream) == data * (size // len(data))

    async with (
        open_backend(switching(talk)) as server,
        open_balancer(server.url, health_check="off", fast_path=fast_path) as balancer,
        open_client(balancer.addresses[0]) as client,
        trio.open_nursery() as nursery,
    ):
        tunnel = await enter(client)
        if slow == "server":
            nursery.start_soon(push, client.stream)
            assert await tunnel.receive(12) == b"tick" * 3
        else:
            for _ in range(3):
                await tunnel.send(b"tick")
        before = -1
        while sent > before:  # until nothing goes on any more
            before = sent
            await trio.testing.wait_all_tasks_blocked(0.02)
        assert 0 < sent < size
        assert borrowed(balancer) == fast_path
        read.set()
        if slow == "client":
            assert await take(client.stream) == data * (size // len(data))
            await client.finish()
        await gone(balancer)
    sizes = (size, 12) if slow == "client" else (12, size)
    assert told(records) == [(101, "ok", *sizes)]


@both_paths
async def test_a_reset_by_the_client_resets_the_server(
    fast_path: bool, records: list[Record]
) -> None:
    async with (
        open_backend(ECHO) as server,
        open_balancer(server.url, health_check="off", fast_path=fast_path) as balancer,
    ):
        async with open_client(balancer.addresses[0]) as client:
            tunnel = await enter(client)
            await tunnel.send(b"x")
            assert await tunnel.receive(1) == b"x"
            client.reset()
            await gone(balancer)
        await server.wait_until(lambda backend: not backend.open_connections)
        assert server.connections[0].end is BackendEnd.PEER_RESET
        assert balancer.statistics().servers[0].failed == 0
    assert told(records) == [(101, "the client broke the tunnel off", 1, 1)]


@both_paths
async def test_a_reset_by_the_server_resets_the_client(
    fast_path: bool, records: list[Record]
) -> None:
    async def reset(exchange: Exchange) -> None:
        assert await exchange.connection.stream.receive_some(1) == b"x"
        await exchange.reset()

    async with (
        open_backend(switching(reset)) as server,
        open_balancer(server.url, health_check="off", fast_path=fast_path) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        tunnel = await enter(client)
        await tunnel.send(b"x")
        assert await tunnel.receive_all() == (b"", End.RESET)
        await gone(balancer)
        assert balancer.statistics().servers[0].failed == 0
    assert told(records) == [(101, "the server broke the tunnel off", 0, 1)]


@both_paths
async def test_what_a_server_said_before_it_left_is_not_lost(
    fast_path: bool, records: list[Record]
) -> None:
    async def leave(exchange: Exchange) -> None:
        await exchange.connection.stream.send_all(b"bye")
        await exchange.close()

    async with (
        open_backend(switching(leave)) as server,
        open_balancer(server.url, health_check="off", fast_path=fast_path) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        tunnel = await enter(client)
        assert await tunnel.receive(3) == b"bye"
        await server.wait_until(lambda backend: not backend.open_connections)
        while not records:  # the first is lost, the second meets the reset
            await tunnel.send(b"are you there?")
            await trio.sleep(0.001)
        assert (await tunnel.receive_all())[0] == b""
        await gone(balancer)
    assert [record.reason for record in records] == ["ok"]


@both_paths
async def test_an_idle_one_is_cut(
    fast_path: bool, records: list[Record], autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        open_backend(ECHO) as server,
        open_balancer(
            server.url, health_check="off", fast_path=fast_path, timeouts={"tunnel": 7}
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        tunnel = await enter(client)
        await trio.sleep(5)
        await tunnel.send(b"x")
        assert await tunnel.receive(1) == b"x"
        began = trio.current_time()
        assert await tunnel.receive_all() == (b"", End.RESET)
        assert trio.current_time() - began == pytest.approx(7, abs=2 * TICK)
        await gone(balancer)
        await server.wait_until(lambda backend: not backend.open_connections)
        assert server.connections[0].end is BackendEnd.PEER_RESET
    assert told(records) == [(101, "the tunnel was idle for too long", 1, 1)]


@both_paths
@pytest.mark.parametrize("side", ["client", "server"])
async def test_one_of_which_a_side_has_ended_has_less_time(
    side: str, fast_path: bool, records: list[Record], autojump_clock: trio.testing.MockClock
) -> None:
    async def silent(exchange: Exchange) -> None:
        if side == "server":
            await exchange.connection.stream.send_eof()
        await trio.sleep_forever()

    async with (
        open_backend(switching(silent)) as server,
        open_balancer(
            server.url,
            health_check="off",
            fast_path=fast_path,
            timeouts={"tunnel_half_closed": 3},
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        began = trio.current_time()
        tunnel = await enter(client)
        await trio.sleep(10)
        if side == "client":
            await client.finish()
            assert await tunnel.receive_all() == (b"", End.RESET)
        await gone(balancer)
        ended = 3 if side == "server" else 13
        assert records[0].began + records[0].duration_s - began == pytest.approx(
            ended, abs=3 * TICK
        )
    assert told(records) == [(101, "the tunnel was idle for too long", 0, 0)]


@both_paths
async def test_a_drain_lets_it_go_on_and_cuts_it_in_the_end(
    fast_path: bool, records: list[Record], autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        open_backend(ECHO) as server,
        open_balancer(
            server.url, health_check="off", fast_path=fast_path, timeouts={"drain": 3}
        ) as balancer,
        open_client(balancer.addresses[0]) as client,
        trio.open_nursery() as nursery,
    ):
        tunnel = await enter(client)
        nursery.start_soon(balancer.drain)
        await trio.sleep(2)
        await tunnel.send(b"x")
        assert await tunnel.receive(1) == b"x"
        assert await tunnel.receive_all() == (b"", End.RESET)
        await gone(balancer)
    assert told(records) == [(101, "cancelled", 1, 1)]


@both_paths
async def test_two_hundred_at_once(
    fast_path: bool, records: list[Record], on_slow_relay: list[str]
) -> None:
    count = 200
    async with (
        open_backend(ECHO) as server,
        open_balancer(server.url, health_check="off", fast_path=fast_path) as balancer,
        AsyncExitStack() as stack,
    ):
        clients = [
            await stack.enter_async_context(open_client(balancer.addresses[0]))
            for _ in range(count)
        ]
        tunnels = [await enter(client) for client in clients]
        assert balancer.statistics().total_active == count
        for size in (1, 125, 70_000):
            for tunnel in tunnels:
                await tunnel.send(bytes([size % 251]) * size)
            for tunnel in tunnels:
                assert await tunnel.receive(size) == bytes([size % 251]) * size
            assert borrowed(balancer) == 0  # idle ones have none
        for client in clients[: count // 2]:
            await client.finish()
        for tunnel in tunnels[: count // 2]:
            assert await tunnel.receive_all() == (b"", End.EOF)
        for client in clients[count // 2 :]:
            client.reset()
        await gone(balancer)
    assert len(records) == count
    assert {(each.bytes_sent, each.bytes_received) for each in records} == {(70_126, 70_126)}
    assert len(on_slow_relay) == (0 if fast_path else count)


@pytest.mark.parametrize(
    "lack", [OSError(errno.ENOSPC, "No space left on device"), MemoryError()], ids=["watch", "room"]
)
async def test_where_something_is_lacking_the_slow_path_relays(
    lack: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    records: list[Record],
    on_slow_relay: list[str],
) -> None:
    def refuse(*_: object) -> None:
        raise lack

    monkeypatch.setattr("trio_lb.proxy.fast_tunnel.Tunnel", refuse)
    async with (
        open_backend(switching(mirror, behind=b"first")) as server,
        open_balancer(server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        tunnel = await enter(client, b"early")
        assert await tunnel.receive(10) == b"firstearly"
        await client.finish()
        assert await tunnel.receive_all() == (b"", End.EOF)
        await gone(balancer)
    assert on_slow_relay
    assert told(records) == [(101, "ok", 10, 5)]


async def test_no_task_is_woken_while_bytes_move() -> None:
    """Of the balancer, only the one that waits for the sockets."""
    async with (
        open_backend(ECHO) as server,
        open_balancer(server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        tunnel = await enter(client)
        woken: list[str] = []

        class Listening(trio.abc.Instrument):
            def task_scheduled(self, task: trio.lowlevel.Task) -> None:
                woken.append(task.name)

        listening = Listening()
        trio.lowlevel.add_instrument(listening)
        try:
            for _ in range(20):
                await tunnel.send(b"x")
                assert await tunnel.receive(1) == b"x"
        finally:
            trio.lowlevel.remove_instrument(listening)
        assert [name for name in woken if "watch_forever" in name]
        assert not [name for name in woken if "trio_lb.proxy" in name or "Service." in name]
        await client.finish()
        assert await tunnel.receive_all() == (b"", End.EOF)


async def test_a_server_is_waited_for_until_it_says_something() -> None:
    """Which lets events gather, as while requests are under way."""

    async def answer_every_other(exchange: Exchange) -> None:
        stream = exchange.connection.stream
        while await stream.receive_some(1):
            await stream.receive_some(1)
            await stream.send_all(b"x")

    async with (
        open_backend(switching(answer_every_other)) as server,
        open_balancer(server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        plain = balancer._service._plain
        assert plain is not None
        tunnel = await enter(client)
        assert plain.readiness.under_way == 0
        for _ in range(2):
            await tunnel.send(b"x")
            await eventually(lambda: plain.readiness.under_way == 1)
            await tunnel.send(b"x")
            assert await tunnel.receive(1) == b"x"
            assert plain.readiness.under_way == 0
        await tunnel.send(b"x")
        await eventually(lambda: plain.readiness.under_way == 1)
        client.reset()
        await gone(balancer)  # and it is waited for no more


@both_paths
async def test_a_tunnel_whose_task_was_cancelled_is_reset(
    fast_path: bool, records: list[Record]
) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_backend(ECHO))
        scope = stack.enter_context(trio.CancelScope())
        balancer = await stack.enter_async_context(
            open_balancer(server.url, health_check="off", fast_path=fast_path)
        )
        client = await stack.enter_async_context(open_client(balancer.addresses[0]))
        tunnel = await enter(client)
        await tunnel.send(b"hello")
        assert await tunnel.receive(5) == b"hello"
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert told(records) == [(101, "cancelled", 5, 5)]
    assert_even(balancer)
