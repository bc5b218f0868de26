"""Forwarding as a service: accepts clients from listeners and serves them from a pool.

This is all that a worker process runs; `trio_lb.runtime.load_balancer` adds the health checks for
programs that embed it. Leaving its block ends everything that was started.
"""

from __future__ import annotations

import logging
import math
import socket
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import trio

from trio_lb.downstream.http1_session import Http1Session
from trio_lb.downstream.limiter import ConnectionLimiter
from trio_lb.errors import HostLimit
from trio_lb.http1.choice import codecs_for
from trio_lb.net.deadlines import Deadlines
from trio_lb.net.dial import Dialler
from trio_lb.net.host_limits import tell
from trio_lb.net.listen import BACKLOG, Want
from trio_lb.net.nurseries import open_bare_nursery
from trio_lb.net.resolver import Resolver
from trio_lb.net.transport import SocketTransport
from trio_lb.observe.access_log import AccessLog, open_access_log
from trio_lb.pool import Counters, Members, Permits, ServerPool, State, StateChange
from trio_lb.proxy.build_fast_path import build_fast_path
from trio_lb.proxy.connection import Proxy
from trio_lb.upstream.connector import Connector
from trio_lb.upstream.idle_pool import UpstreamPool
from trio_lb.upstream.moved import MovedServers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from trio_lb.fast.exchange import Acceptor, ClientSide
    from trio_lb.fast.table import Table
    from trio_lb.net.listen import Listener
    from trio_lb.net.transport import Transport
    from trio_lb.plan import AccessLogPlan, Address, Algorithm, Plan
    from trio_lb.upstream.idle_pool import IdleConnections

log = logging.getLogger("trio_lb.runtime.service")

#: How often idle upstream connections, and pipes, are looked through; seconds.
_SWEEP = 1.0

#: Until connections that were told to go have gone, seconds.
_BREATH = 0.01


def log_change(servers: ServerPool, change: StateChange) -> None:
    """The one line that a change of a server's state gets."""
    level = logging.INFO if change.new is State.ALIVE else logging.WARNING
    alive = f"{servers.alive_count} of {len(servers)} alive"
    states = f"{change.old.name.lower()} -> {change.new.name.lower()}"
    log.log(
        level, "server %s: %s: %s (%s)", change.member.server.name, states, change.reason, alive
    )


class Service:
    """Forwarding at work; made by `open_service`.

    Attributes:
        plan: what it does.
        listeners: where its clients come from.
        spare: where they come from besides, if `accept_also` says so.
        counters: what the clients of this process have asked for and got.
        servers: where they are served from.
        deadlines: of its waits.
        dial: how it connects to a server.
        access_log: where that is written, if anywhere.
        codecs: take messages apart on the slow path.
    """

    def __init__(
        self,
        plan: Plan,
        listeners: list[Listener],
        counters: Counters,
        permits: Permits,
        servers: ServerPool,
        access_log: AccessLog | None,
        spare: Sequence[Listener] = (),
    ) -> None:
        self.plan = plan
        (route,) = plan.routes
        pool = plan.pool_of(route)
        self.listeners = listeners
        self.spare = spare
        self.counters = counters
        self.servers = servers
        self.access_log = access_log
        self.deadlines = Deadlines()
        for listener in (*listeners, *spare):
            listener.tune(plan.clients.timeouts.body)
        self.dial = self._dial
        self._resolver = Resolver()
        self._dialler = Dialler(self._resolver, self.deadlines, plan.clients.timeouts.body)
        settings = pool.upstream
        on_ended = None if access_log is None else access_log.record
        records = None if access_log is None else access_log.buffer
        self._plain = (
            build_fast_path(plan.clients, route, pool.upstream, servers, self._dialler, records)
            if plan.fast_path
            else None
        )
        self._upstreams: IdleConnections = (
            UpstreamPool(
                settings.idle_connections,
                settings.idle_timeout,
                math.inf if settings.max_age is None else settings.max_age,
            )
            if self._plain is None
            else self._plain.upstreams
        )
        fast_path = None if self._plain is None else self._plain.fast_path
        self.codecs = codecs_for(fast_path=plan.fast_path)
        self._proxy = Proxy(
            plan.clients,
            route,
            servers,
            self.counters,
            permits,
            partial(
                Http1Session,
                limits=plan.clients.limits,
                timeouts=plan.clients.timeouts,
                make_codec=self.codecs.client,
            ),
            Connector(self.dial, self.codecs.server, self._upstreams),
            on_ended,
            fast_path,
        )
        self._limiter = ConnectionLimiter(
            plan.clients.connections, permits, self.counters, self._upstreams, self._proxy
        )
        self._taskless = self._proxy.serve_without_tasks(self._limiter, self._give_task)
        self._moved = MovedServers(self._resolver, servers.members)
        self._clients: trio.Nursery
        self._acceptors: trio.Nursery
        self._accepting = trio.CancelScope()
        self._also: dict[Listener, trio.CancelScope] = {}
        self._one_acceptor = {listener: trio.Lock() for listener in spare}
        self._begun = False
        self._ended = trio.Event()
        #: Everything ended by itself.
        self._finished = False

    async def accept(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept clients until drained; then serve those that are there, to their last answer."""
        self._begun = True
        try:
            async with trio.open_nursery() as self._clients:
                if self._taskless:
                    self._clients.start_soon(self._proxy.keep_taskless)
                with self._accepting:
                    async with trio.open_nursery() as self._acceptors:
                        for listener in self.listeners:
                            self._acceptors.start_soon(self._accept_from, listener)
                        task_status.started()
                for listener in (*self.listeners, *self.spare):
                    self._take_queue(listener)
                    listener.close()
                self._proxy.drain()
            self._finished = not self._clients.cancel_scope.cancel_called
        finally:  # also when it is cancelled: nobody may wait for what can't come
            self._ended.set()

    def accept_also(self, listeners: Collection[Listener]) -> None:
        """Accept clients from these of the spare listeners as well, and from no others of them."""
        for listener in self._also.keys() - listeners:
            self._also.pop(listener).cancel()
        for listener in set(listeners).difference(self.listeners, self._also):
            scope = self._also[listener] = trio.CancelScope()
            self._acceptors.start_soon(self._accept_also_from, listener, scope)

    async def drain(self, seconds: float | None = None) -> bool:
        """Stop accepting, finish what is in flight, and come back when that is done.

        Clients that are already in a listening queue are still served. Answers get
        `Connection: close`; idle connections are closed a moment later, so that a request which
        is on its way is answered and not met by a reset.

        Args:
            seconds: how long that may take; the plan's drain time if None.

        Returns:
            True if everything ended by itself, or had not even begun; False if the time was over
            or `accept` was cancelled before that, and what was left has been cut.
        """
        self._accepting.cancel()
        if not self._begun:
            return True
        with self.deadlines.limit(self.plan.drain_timeout if seconds is None else seconds):
            await self._ended.wait()
            return self._finished
        if not self._clients.cancel_scope.cancel_called:
            connections = self.counters.connections
            log.warning("drain timeout: %d client connections are closed", connections)
            self._clients.cancel_scope.cancel()
        await self._ended.wait()
        return False

    async def maintain(self) -> None:
        """Keep deadlines, look names up, and close idle upstream connections, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.deadlines.watch_forever)
                nursery.start_soon(self._resolver.run)
                nursery.start_soon(self._proxy.departures.watch_forever)
                nursery.start_soon(self._proxy.outage.watch_forever)
                if self._plain is not None:
                    nursery.start_soon(self._plain.readiness.watch_forever)
                    nursery.start_soon(self._plain.readiness.sweep_forever)
                if self.plan.clients.connections.total is not None:
                    nursery.start_soon(self._limiter.evict_for_others)
                while True:
                    await trio.sleep(_SWEEP)
                    self._upstreams.expire(trio.current_time())
                    self._moved.close_idle(self._upstreams)
                    if self._plain is not None:
                        self._plain.fast_path.close_idle_pipes()
        finally:
            self._upstreams.close()
            if self._plain is not None:
                self._plain.readiness.close()
                self._plain.fast_path.close_idle_pipes()

    def set_members(self, members: Members, algorithm: Algorithm) -> None:
        """Serve from these servers from the next request on.

        Requests under way go on with theirs. Connections that are kept to servers that stay are
        kept; those to the others are closed, or will be when they are not used any more.
        """
        before = self.servers.members
        self.servers.set_members(members, algorithm)
        for member in before:
            if member not in members:
                self._upstreams.drop(member.table_slot)
        if self._plain is not None:
            self._plain.set_members(self.servers)
        self._moved.set_members(members)

    def state_changed(self, change: StateChange) -> None:
        """Say so, and keep no connections to the dead."""
        if change.new is State.DEAD:
            self._upstreams.drop(change.member.table_slot)
        log_change(self.servers, change)

    async def _accept_from(self, listener: Listener) -> None:
        with self._proxy.acceptor(listener) as acceptor:
            if acceptor is None:
                welcome = partial(self._welcome, listener)
                await listener.accept_forever(welcome, self.deadlines, self._limiter)
            else:
                await listener.accept_by(partial(_accept_by, acceptor), self._limiter)

    async def _accept_also_from(self, listener: Listener, scope: trio.CancelScope) -> None:
        # A task that was cancelled may not have ended yet: two can't wait for one socket.
        async with self._one_acceptor[listener]:
            with scope:
                await self._accept_from(listener)

    def _welcome(self, listener: Listener, transport: SocketTransport) -> None:
        serve = self._proxy.serve
        self._clients.start_soon(self._limiter.serve, serve, transport, listener.proxy_protocol)

    def _give_task(self, fd: int, address: bytes, fast_side: ClientSide | None) -> None:
        """Start a task for a client that was accepted without one.

        If this fails, the descriptor is still the caller's.
        """
        sock = socket.socket(fileno=fd)
        try:
            sock.setblocking(False)
            transport = SocketTransport(sock, address.decode(), self.deadlines)
            serve = self._proxy.serve_accepted
            self._clients.start_soon(self._limiter.serve, serve, transport, fast_side)
        except BaseException:
            sock.detach()
            raise

    async def _dial(
        self, address: Address, seconds: float, under_way: Transport | None = None
    ) -> SocketTransport:
        """Connect to a server; if this host lacks something, once more without idle connections."""
        try:
            return await self._dialler.dial(address, seconds, under_way)
        except HostLimit as exc:
            tell(exc)
            if not (exc.closing_helps and self._limiter.free_descriptors()):
                raise
        await trio.sleep(_BREATH)
        return await self._dialler.dial(address, seconds)

    def _take_queue(self, listener: Listener) -> None:
        """Accept those who are in the queue already, as far as there are permits."""
        welcome = partial(self._welcome, listener)
        want = listener.accept_some(welcome, self.deadlines, self._limiter, BACKLOG)
        if want is not None:
            log.warning("%s: queued connections are lost: %s", listener.address, want.of)


async def _accept_by(acceptor: Acceptor, once: bool) -> Want | None:
    lack = await acceptor.run(once)
    return None if lack is None else Want(lack[0], descriptors=lack[1])


@asynccontextmanager
async def open_service(
    plan: Plan,
    listeners: list[Listener],
    table: Table,
    servers: ServerPool,
    spare: Sequence[Listener] = (),
) -> AsyncIterator[Service]:
    """Make a service, with its access log and its maintenance, for as long as the block lasts.

    It accepts nobody until `Service.accept` is started. The listeners are closed at the end.

    Args:
        plan: what it does.
        listeners: where its clients come from.
        table: of this process, which counts its clients there.
        servers: where they are served from.
        spare: other processes' listeners, for `Service.accept_also`.
    """
    counters = Counters(table)
    try:
        async with (
            _access_log(plan.access_log, counters.log_dropped) as access_log,
            open_bare_nursery() as nursery,
        ):
            service = Service(plan, listeners, counters, Permits(table), servers, access_log, spare)
            servers.notify = service.state_changed
            nursery.start_soon(service.maintain)
            try:
                yield service
            finally:
                nursery.cancel_scope.cancel()
    finally:
        for listener in (*listeners, *spare):
            listener.close()


def _access_log(
    plan: AccessLogPlan | None, dropped: Callable[[int], None]
) -> AbstractAsyncContextManager[AccessLog | None]:
    if plan is None:
        return nullcontext()
    return open_access_log(plan.path, plan.form, dropped, shown=plan.shown)
