"""Any sequence of faults: what holds after each of them, and that everything heals."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks, open_balancer, states
from tests.support.client import open_client
from tests.support.effort import effort
from tests.support.fault_proxy import open_fault_proxy
from tests.support.leaks import held, held_at_first

if TYPE_CHECKING:
    from tests.support.backend import Backend, Exchange
    from tests.support.client import Response
    from tests.support.fault_proxy import FaultProxy

#: Load, which reaches no line that others do not, and takes twice as long where lines are counted.
pytestmark = pytest.mark.no_cover

SERVERS = 3


async def tell_who_asked(exchange: Exchange) -> None:
    """The request's id, many times, in chunks: an answer that can't be mistaken for another."""
    await exchange.read_body()
    name = exchange.request.header("x-request-id") or ""
    await exchange.send_head(200, [scripts.CHUNKED])
    for _ in range(10):
        await exchange.send(scripts.chunk(f"<{name}>".encode() * 50))
        await trio.sleep(0.01)
    await exchange.send(scripts.chunk(b""))


@dataclass
class World:
    """Three servers behind bad networks, a balancer, and what its clients got."""

    servers: list[Backend]
    networks: list[FaultProxy]
    url: str
    nursery: trio.Nursery
    posts: list[str] = field(default_factory=list)
    answered: int = 0
    sent: int = 0

    async def do(self, action: str, which: int, number: int) -> None:
        """One fault, or some requests."""
        server, network = self.servers[which], self.networks[which]
        match action:
            case "kill":
                await server.kill()
            case "start" if not server.is_running:
                await server.start()
            case "cut":
                network.cut(with_reset=bool(number % 2))
            case "cut after":
                network.to_client.cut_after = number * 7
            case "stall":
                network.to_client.stall()
            case "drop":
                network.to_client.drops = network.to_server.drops = True
            case "slow":
                network.to_client.rate = 1000 * (number + 1)
            case "heal":
                network.heal()
            case "wait":
                await trio.sleep(number / 7)
            case "requests":
                for each in range(number % 6 + 1):
                    self.nursery.start_soon(self.ask, ("GET", "POST")[each % 2])

    async def ask(self, method: str, *, must_succeed: bool = False) -> None:
        """Checks that whatever comes is whole, cut, or an error; and nobody else's."""
        self.sent += 1
        name = f"{method}-{self.sent}"
        if method == "POST":
            self.posts.append(name)
        async with open_client(self.url) as client:
            head = f"{method} / HTTP/1.1\r\nHost: a\r\nX-Request-ID: {name}\r\n"
            await client.send(f"{head}Content-Length: 1\r\n\r\nx".encode())
            response = await client.read_response(method)
        self.check(response, f"<{name}>".encode() * 500)
        assert response.status == 200 or not must_succeed, response
        assert response.complete or not must_succeed
        self.answered += 1

    @staticmethod
    def check(response: Response, body: bytes) -> None:
        if response.status == 200:
            assert body.startswith(response.body)
            assert response.complete is (response.body == body)
        else:
            assert response.status in (0, 502, 503, 504)
            assert response.complete is (response.status > 0)


async def live_through(actions: list[tuple[str, int, int]]) -> None:
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(open_backend(besides_checks(tell_who_asked)))
            for _ in range(SERVERS)
        ]
        networks = [
            await stack.enter_async_context(open_fault_proxy(server.url)) for server in servers
        ]
        balancer = await stack.enter_async_context(
            open_balancer(
                *(network.url for network in networks),
                timeout="2s",
                timeouts={"connect": "1s", "body": "3s"},
                health_check={"path": "/well", "interval": "2s", "timeout": "1s"},
            )
        )
        await trio.testing.wait_all_tasks_blocked()
        base = held_at_first()
        async with trio.open_nursery() as nursery:
            world = World(servers, networks, balancer.addresses[0], nursery)
            for action, which, number in actions:
                await world.do(action, which, number)
        assert world.answered == world.sent
        for server, network in zip(servers, networks, strict=True):
            network.heal()
            network.cut()
            if not server.is_running:
                await server.start()
        await trio.sleep(10)
        assert states(balancer) == ["alive"] * SERVERS
        for _ in range(SERVERS):
            await world.ask("GET", must_succeed=True)
            await world.ask("POST", must_succeed=True)
        await trio.sleep(10)
        statistics = balancer.statistics()
        assert (statistics.client_connections, statistics.total_active) == (0, 0)
        assert statistics.requests_total == world.sent
        executed = [each.header("x-request-id") for server in servers for each in asked(server)]
        assert max(executed.count(name) for name in world.posts) == 1
        assert held() == base


FAULTS = ["kill", "start", "cut", "cut after", "stall", "drop", "slow", "heal"]
ACTIONS = st.tuples(
    st.sampled_from([*FAULTS, "requests", "requests", "wait"]),
    st.integers(0, SERVERS - 1),
    st.integers(0, 20),
)


@effort(60, derandomize=True)
@given(st.lists(ACTIONS, max_size=25))
def test_any_sequence_of_faults(actions: list[tuple[str, int, int]]) -> None:
    trio.run(live_through, actions, clock=MockClock(autojump_threshold=0))
