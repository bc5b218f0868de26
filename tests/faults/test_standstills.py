"""The event loop stands still: nobody is blamed for that, and nothing is cut.

A stopped process, a frozen container, a call that blocks the loop of a program that embeds the
balancer: of a virtual clock, one jump. Each state of a connection meets two of them, each longer
than any timeout. What is waited for comes meanwhile and is there when the loop goes on; or all
have stood still, and it comes a second later.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer, states
from tests.support.built import needs_fast_path
from tests.support.client import open_client
from tests.support.net import listen_tcp
from tests.support.rig import get
from tests.support.standstills import LENGTH, STATES, State, stops_after, write
from tests.support.tunnels import enter
from trio_lb.config.address import parse_server_address
from trio_lb.net.deadlines import Deadline, Deadlines, loop_clock
from trio_lb.net.dial import Dialler
from trio_lb.net.resolver import Resolver

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.backend import Backend, Exchange
    from tests.support.client import Client
    from tests.support.names import Names
    from trio_lb.net.transport import SocketTransport
    from trio_lb.plan import Address

TIMEOUTS = {"connect": 3, "client_head": 3, "body": 3, "keep_alive": 3, "tunnel": 3, "drain": 3}
SETTINGS: dict[str, Any] = {"timeout": "3s", "timeouts": TIMEOUTS, "health_check": "off"}
STANDSTILL = 100.0

#: Ways to serve the same requests.
PATHS: dict[str, dict[str, object]] = {
    "slow": {"fast_path": False},
    "fast": {"fast_path": True},
}


@pytest.fixture(params=["slow", pytest.param("fast", marks=needs_fast_path)])
def path(request: pytest.FixtureRequest) -> dict[str, object]:
    """The settings that have requests served in one of the ways."""
    return PATHS[request.param]


async def stand_still(
    clock: MockClock, when: str, state: State, client: Client, backend: Backend
) -> None:
    """Everything is quiet; the loop stands still; what is to come has come, or does a bit later."""

    await trio.sleep(1)
    if when == "meanwhile":
        state.come(client, backend)
    clock.jump(STANDSTILL)
    if when == "after":
        await trio.sleep(1)
        state.come(client, backend)


@pytest.mark.parametrize("when", ["meanwhile", "after"])
@pytest.mark.parametrize("name", STATES)
async def test_a_standstill_is_nobody_s_fault(
    name: str, when: str, path: dict[str, object], autojump_clock: MockClock
) -> None:
    state = STATES[name]
    async with (
        open_backend(state.script) as backend,
        open_balancer(backend.url, **(SETTINGS | state.settings | path)) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        if state.sent:
            await client.send(state.sent)
        await stand_still(autojump_clock, when, state, client, backend)
        with trio.fail_after(10):
            response = await client.read_response()
        assert (response.status, response.complete) == (200, True)
        [server] = balancer.statistics().servers
        assert (server.state, server.failed) == ("alive", 0)
        if name == "waiting":
            assert server.response_time_s is not None
            assert server.response_time_s < 3


@pytest.mark.parametrize("when", ["meanwhile", "after"])
async def test_an_idle_client_s_next_request_is_served(
    when: str, path: dict[str, object], autojump_clock: MockClock
) -> None:
    async with (
        open_backend(scripts.answer()) as backend,
        open_balancer(backend.url, **SETTINGS, **path) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(3):
            await client.send(get())
            assert (await client.read_response()).status == 200
            await stand_still(autojump_clock, when, State(rest=get()), client, backend)
            with trio.fail_after(10):
                assert (await client.read_response()).status == 200


async def test_a_client_that_took_its_answer_meanwhile_gets_the_rest(
    path: dict[str, object], autojump_clock: MockClock
) -> None:
    size = 30_000_000
    async with (
        open_backend(scripts.bulk(size)) as backend,
        open_balancer(backend.url, **SETTINGS, **path) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        await trio.sleep(2.5)
        taken = b""
        with suppress(BlockingIOError):
            while True:
                taken += os.read(client.stream.socket.fileno(), 65536)  # type: ignore[attr-defined]
        assert taken
        autojump_clock.jump(STANDSTILL)
        with trio.fail_after(10):
            rest = await _read(client, size + taken.index(b"\r\n\r\n") + 4 - len(taken))
        assert len(rest) == size + taken.index(b"\r\n\r\n") + 4 - len(taken)


async def _read(client: Client, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := await client.stream.receive_some(1 << 20)):
        data += piece
    return bytes(data)


async def test_a_tunnel_is_not_idle_while_we_stand_still(
    path: dict[str, object], autojump_clock: MockClock
) -> None:
    async def switch(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        with suppress(Exception):
            while True:
                await exchange.send(await exchange.connection.receive())

    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(switch))
        balancer = await stack.enter_async_context(open_balancer(backend.url, **SETTINGS, **path))
        client = await stack.enter_async_context(open_client(balancer.addresses[0]))
        tunnel = await enter(client)
        for when in ("meanwhile", "after"):
            await stand_still(autojump_clock, when, State(rest=b"ping"), client, backend)
            with trio.fail_after(10):
                assert await tunnel.receive(4) == b"ping"


async def test_a_drain_waits_for_who_could_not_be_served(
    path: dict[str, object], autojump_clock: MockClock
) -> None:
    state = STATES["waiting"]
    async with (
        open_backend(state.script) as backend,
        open_balancer(backend.url, **SETTINGS, **path) as balancer,
        open_client(balancer.addresses[0]) as client,
        trio.open_nursery() as nursery,
    ):
        await client.send(get())
        await trio.sleep(0.5)
        nursery.start_soon(balancer.drain)
        await stand_still(autojump_clock, "after", state, client, backend)
        assert (await client.read_response()).status == 200


@pytest.mark.parametrize("when", ["meanwhile", "after"])
async def test_a_health_check_is_not_failed_by_us(when: str, autojump_clock: MockClock) -> None:
    """Neither one that is waited for nor one that is due meanwhile."""
    asked: list[Exchange] = []

    async def script(exchange: Exchange) -> None:
        asked.append(exchange)
        if len(asked) == 2:  # the first one that is not of the first round
            await trio.sleep_forever()
        await exchange.respond()

    checks = {"path": "/well", "interval": "3s", "timeout": "3s", "fall": 1, "jitter": 0}
    async with (
        open_backend(script) as backend,
        open_balancer(backend.url, **SETTINGS | {"health_check": checks}) as balancer,
    ):
        await trio.sleep(4)
        connection = backend.connections[1]
        if when == "meanwhile":
            write(connection.stream, LENGTH)
        autojump_clock.jump(STANDSTILL)
        if when == "after":
            await trio.sleep(1)
            write(connection.stream, LENGTH)
        await trio.sleep(10)
        assert states(balancer) == ["alive"]
        assert balancer.statistics().servers[0].failed == 0
        assert len(asked) > 3


async def test_a_check_that_could_not_be_sent_is_not_failed(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """We stand still between connecting and asking."""
    dialled = 0
    dial = Dialler.dial

    async def dial_late(dialler: Dialler, address: Address, *more: Any) -> SocketTransport:
        nonlocal dialled
        dialled += 1
        transport = await dial(dialler, address, *more)
        if dialled == 2:
            autojump_clock.jump(STANDSTILL)
        return transport

    monkeypatch.setattr(Dialler, "dial", dial_late)
    checks = {"path": "/well", "interval": "3s", "timeout": "3s", "fall": 1, "jitter": 0}
    async with (
        open_backend(scripts.answer()) as backend,
        open_balancer(backend.url, **SETTINGS | {"health_check": checks}) as balancer,
    ):
        await trio.sleep(STANDSTILL + 10)
        assert dialled > 2
        assert states(balancer) == ["alive"]


async def test_dialling_goes_on_where_we_stood_still(
    names: Names, autojump_clock: MockClock
) -> None:
    names.answers["app.test"] = ["127.0.0.1"]
    names.seconds = STANDSTILL + 2
    deadlines, resolver = Deadlines(), Resolver()
    with listen_tcp("127.0.0.1", 0) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deadlines.watch_forever)
            nursery.start_soon(resolver.run)

            async def stall() -> None:
                await trio.sleep(1)
                autojump_clock.jump(STANDSTILL)

            nursery.start_soon(stall)
            port = listener.getsockname()[1]
            address = parse_server_address(f"http://app.test:{port}")
            transport = await Dialler(resolver, deadlines).dial(address, 3)
            transport.close()
            nursery.cancel_scope.cancel()


async def test_only_the_time_that_the_loop_stood_still_is_given_back(
    autojump_clock: MockClock,
) -> None:
    """A deadline is as far away as it was before, and no farther."""
    deadlines = Deadlines()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.watch_forever)
        await trio.sleep(0.05)
        clock = loop_clock()
        began, lived = trio.current_time(), clock.lived()
        deadline = Deadline(3.0)
        await trio.sleep(1)
        autojump_clock.jump(STANDSTILL)
        await trio.sleep(1)
        assert clock.lived() - lived == pytest.approx(2, abs=0.2)
        assert deadline.by - began == pytest.approx(STANDSTILL + 3, abs=0.2)
        with deadlines.limit(2.0):
            await trio.sleep(0.5)
            autojump_clock.jump(STANDSTILL)
            await trio.sleep_forever()
        assert trio.current_time() - began == pytest.approx(2 * STANDSTILL + 4, abs=0.5)
        nursery.cancel_scope.cancel()


async def test_a_peer_that_never_comes_is_late_all_the_same(
    path: dict[str, object], autojump_clock: MockClock
) -> None:
    async with (
        open_backend(stops_after(b"")) as backend,
        open_balancer(backend.url, **SETTINGS, retries=0, **path) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        began = trio.current_time()
        await trio.sleep(1)
        autojump_clock.jump(STANDSTILL)
        assert (await client.read_response()).status == 504
        assert trio.current_time() - began == pytest.approx(STANDSTILL + 3, abs=0.5)
