"""A proxy with scripted servers, in memory or on real sockets; checks that nothing is left behind.

async with open_rig(scripts.answer(b"hello"), retries=0) as rig:
    response = await rig.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import trio

import trio_lb
from tests.support.backend import Backend, Exchange, Script, open_backend
from tests.support.client import Client, Response, open_client
from tests.support.leaks import assert_even
from tests.support.memory import CAPACITY, MemoryNetwork, MemoryStream, MemoryTransport
from trio_lb.config import Address, HealthCheck, Listen, Profile, Server, compile_plan
from trio_lb.config.address import parse_server_address
from trio_lb.downstream.http1_session import Http1Session
from trio_lb.http1.choice import codecs_for
from trio_lb.pool import Counters, Permits, ServerPool, StateChange
from trio_lb.proxy.connection import Proxy
from trio_lb.upstream.connector import Connector
from trio_lb.upstream.idle_pool import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from trio_lb.observe.record import Record

NO_CHECKS = HealthCheck(enabled=False)


def get(target: str = "/", *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    return "\r\n".join(
        (f"{method} {target} HTTP/{version}", "Host: example.org", *lines, "", "")
    ).encode("latin-1")


def post(body: bytes, *lines: str, target: str = "/", method: str = "POST") -> bytes:
    """A request with a body and Content-Length."""
    return get(target, f"Content-Length: {len(body)}", *lines, method=method) + body


def post_chunks(
    *chunks: bytes, target: str = "/", method: str = "POST", end: bytes = b"0\r\n\r\n"
) -> bytes:
    """A request with a chunked body, and `end` behind its chunks."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in chunks)
    return get(target, "Transfer-Encoding: chunked", method=method) + framed + end


async def unreachable(exchange: Exchange) -> None:
    """A script for where no request may arrive."""
    raise AssertionError(f"a request arrived: {exchange.request}")


class Bed(Protocol):
    """What tests that hold in memory and on sockets alike need of either."""

    backends: list[Backend]

    def client(self) -> AbstractAsyncContextManager[Client]:
        """A client's connection, closed at the end of the block."""


class Rig:
    """A proxy in memory; see `open_rig`."""

    def __init__(
        self,
        clients: trio.Nursery,
        network: MemoryNetwork,
        backends: list[Backend],
        max_connections: int,
        send_proxy: Literal["v1", "v2"] | None,
        settings: dict[str, Any],
    ) -> None:
        addresses = [Address(host="127.0.0.1", port=backend.port) for backend in backends]
        self.profile = Profile(
            servers=tuple(
                Server(address=address, max_connections=max_connections, send_proxy=send_proxy)
                for address in addresses
            ),
            **settings,
        )
        self.network = network
        self.backends = backends
        self.clients = clients
        self._serving = 0
        self._idle = trio.lowlevel.ParkingLot()
        self.records: list[Record] = []
        self.changes: list[StateChange] = []
        plan = compile_plan(self.profile)
        (pool,), (route,) = plan.pools, plan.routes
        self.servers = ServerPool.private(pool.servers, pool.algorithm, notify=self.changes.append)
        self.counters = Counters(self.servers.table)
        upstream = pool.upstream
        self.upstreams = UpstreamPool(upstream.idle_connections, upstream.idle_timeout)
        codecs = codecs_for(fast_path=plan.fast_path)
        self.proxy = Proxy(
            plan.clients,
            route,
            self.servers,
            self.counters,
            Permits(self.servers.table),
            partial(
                Http1Session,
                limits=plan.clients.limits,
                timeouts=plan.clients.timeouts,
                make_codec=codecs.client,
            ),
            Connector(network.dial, codecs.server, self.upstreams),
            self.records.append,
        )

    @asynccontextmanager
    async def client(
        self, peer: str = "192.0.2.1", *, proxy_protocol: bool = False
    ) -> AsyncIterator[Client]:
        """A client's connection, closed at the end of the block.

        Args:
            peer: where it comes from.
            proxy_protocol: it has to begin with a PROXY header.
        """
        ours, theirs = self.network.pair(peer)
        self._serving += 1
        self.clients.start_soon(self._serve, ours, proxy_protocol)
        try:
            yield Client(MemoryStream(theirs))
        finally:
            theirs.close()

    async def _serve(self, transport: MemoryTransport, proxy_protocol: bool) -> None:
        try:
            await self.proxy.serve(transport, proxy_protocol)
        finally:
            self._serving -= 1
            self._idle.unpark_all()

    async def idle(self) -> None:
        """Waits until no client is served any more."""
        while self._serving:
            await self._idle.park()

    async def ask(self, data: bytes, method: str = "GET", *, peer: str = "192.0.2.1") -> Response:
        """Sends a request on a connection of its own and reads the response."""
        async with self.client(peer) as client:
            await client.send(data)
            return await client.read_response(method)

    @property
    def served(self) -> list[int]:
        """How many requests each server has answered."""
        return [counters.served for counters in self.servers.snapshot()]

    @property
    def failed(self) -> list[int]:
        """How often each server has failed."""
        return [counters.failed for counters in self.servers.snapshot()]

    @property
    def states(self) -> list[str]:
        """Each server's state."""
        return [counters.state.name.lower() for counters in self.servers.snapshot()]

    async def check_nothing_is_left(self) -> None:
        """Waits for the clients' ends; then no slot, connection or count may be taken."""
        with trio.fail_after(60):
            await self.idle()
        assert self.counters.connections == 0
        assert [counters.active for counters in self.servers.snapshot()] == [0] * len(self.backends)
        assert self.network.open == len(self.upstreams), "a connection is left open"
        self.upstreams.close()
        assert self.network.open == 0
        assert len(self.network.deadlines) == 0, "somebody still waits"


@asynccontextmanager
async def open_rig(
    *scripts: Script,
    capacity: int = CAPACITY,
    max_connections: int = 0,
    send_proxy: Literal["v1", "v2"] | None = None,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """Runs a proxy in memory before one server per script.

    Args:
        scripts: what the servers do; without any, one server that is not to be reached.
        capacity: bytes that each direction of a connection holds.
        max_connections: of each server.
        send_proxy: of each server, which then expects it.
        settings: fields of the profile.
    """
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(capacity)
        backends: list[Backend] = [
            await network.add_backend(nursery, script) for script in scripts or (unreachable,)
        ]
        for backend in backends:
            backend.proxy_protocol = send_proxy is not None
        nursery.start_soon(network.deadlines.watch_forever)
        clients = await nursery.start(_host)
        rig = Rig(clients, network, backends, max_connections, send_proxy, settings)
        nursery.start_soon(rig.proxy.departures.watch_forever)
        nursery.start_soon(rig.proxy.outage.watch_forever)
        yield rig
        await rig.check_nothing_is_left()
        nursery.cancel_scope.cancel()


async def _host(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Offers a nursery that can be cancelled without the test."""
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()


class SocketBed:
    """A load balancer on loopback; see `open_socket_bed`."""

    def __init__(self, lb: trio_lb.LoadBalancer, backends: list[Backend]) -> None:
        self.lb = lb
        self.backends = backends

    def client(self) -> AbstractAsyncContextManager[Client]:
        """A client's connection, closed at the end of the block."""
        return open_client(self.lb.addresses[0])


@asynccontextmanager
async def open_socket_bed(*scripts: Script, **settings: Any) -> AsyncIterator[SocketBed]:
    """Runs a load balancer on loopback before one server per script, like `open_rig`."""
    async with AsyncExitStack() as stack:
        backends = [await stack.enter_async_context(open_backend(script)) for script in scripts]
        profile = Profile(
            listen=(Listen(address=Address(host="127.0.0.1", port=0)),),
            servers=tuple(Server(address=parse_server_address(each.url)) for each in backends),
            **{"health_check": NO_CHECKS, **settings},
        )
        async with trio_lb.open_load_balancer(profile) as lb:
            yield SocketBed(lb, backends)
            with trio.fail_after(5):
                while lb.statistics().client_connections:
                    await trio.lowlevel.checkpoint()
            assert_even(lb)


def open_bed(kind: str, *scripts: Script, **settings: Any) -> AbstractAsyncContextManager[Bed]:
    """In `memory`, or on `sockets`."""
    return (open_rig if kind == "memory" else open_socket_bed)(*scripts, **settings)
