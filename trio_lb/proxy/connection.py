"""Serving clients: stream after stream, each with an answer, until one side has enough."""

from __future__ import annotations

import logging
from contextlib import contextmanager, nullcontext
from functools import partial
from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING

import trio

from trio_lb.downstream.address_limit import AddressLimit
from trio_lb.downstream.proxy_header import ProxyHeaders
from trio_lb.errors import ClientError, ClientGone, HostLimit
from trio_lb.http.identity import Identification
from trio_lb.net.host_limits import watch_failed
from trio_lb.net.transport import Transport, YieldBudget
from trio_lb.pool import SlowPathReason

from . import tunnel
from .client import Client
from .departures import Departures
from .forward import Forwarder
from .request import RequestHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from trio_lb.downstream.http1_session import Http1Session
    from trio_lb.downstream.limiter import ConnectionLimiter
    from trio_lb.fast.exchange import Acceptor, Clients, ClientSide, FastPath, Handover
    from trio_lb.http.heads import RequestHead
    from trio_lb.net.listen import Listener
    from trio_lb.observe.record import Record
    from trio_lb.plan import ClientPlan, RoutePlan
    from trio_lb.pool import Counters, Permits, ServerPool
    from trio_lb.upstream.connector import Connector

    from .fast_path import FastPathEntry, GiveTask
    from .resumed import ResumedRequest
    from .tunnel import Relay

log = logging.getLogger("trio_lb.proxy")

#: Who has just come, or was just served, is not idle yet; seconds.
_SETTLED = 1.0

#: Idle connections that are evicted at one time.
_MOST_LET_GO = 32


class Proxy:
    """Serves clients from the servers of one pool.

    Args:
        clients: what holds for clients.
        route: how their requests are forwarded.
        servers: the pool.
        counters: of the clients of this process.
        permits: for those of one address.
        open_session: makes the session of a client's connection.
        connector: opens streams to its servers.
        on_ended: told of every request that is over, if anybody wants to know; but for those that
            were served on the fast path, which keeps records of these itself.
        fast_path: the fast path, if it is to be used.

    Attributes:
        departures: notices clients that leave; somebody's nursery must run its `watch_forever`.
        outage: somebody must run its `watch_forever`.
        acceptors: those that accept clients without a task at present.
    """

    def __init__(
        self,
        clients: ClientPlan,
        route: RoutePlan,
        servers: ServerPool,
        counters: Counters,
        permits: Permits,
        open_session: Callable[[Transport], Http1Session],
        connector: Connector,
        on_ended: Callable[[Record], None] | None = None,
        fast_path: FastPath | None = None,
    ) -> None:
        self._open_session = open_session
        identity = clients.identity
        self._identification = Identification(identity.networks(), identity.forwarded)
        self._headers = ProxyHeaders(self._identification, clients.timeouts.head)
        self._address_limit = AddressLimit(permits, clients.connections.per_address)
        self._sessions: set[Http1Session] = set()
        self._draining = False
        self._counters = counters
        if fast_path is None:
            relay: Relay = tunnel.relay
        else:
            from .fast_tunnel import relay_by  # there are builds without it

            relay = relay_by(fast_path)
        forwarder = Forwarder(route, servers, connector, relay)
        self.outage = forwarder.outage
        self.departures = Departures(clients.timeouts.half_closed)
        self._requests = RequestHandler(
            route,
            servers,
            forwarder,
            self._identification,
            self._counters,
            self.departures,
            on_ended,
        )
        self._taskless: Clients | None = None
        self._taskless_ended = trio.Event()
        self.acceptors: set[Acceptor] = set()
        self._fast_path: FastPathEntry | None = None
        if fast_path is not None:
            from .fast_path import FastPathEntry  # there are builds without it

            self._fast_path = FastPathEntry(
                fast_path,
                route.timeouts,
                servers,
                self._identification,
                forwarder,
                self._requests.over,
            )

    async def serve(self, transport: Transport, proxy_protocol: bool = False) -> None:
        """Serve one client until its connection ends, and close it.

        Nothing but cancellation comes out: what goes wrong with one client concerns no other.

        Args:
            transport: its bytes; closed at the end.
            proxy_protocol: they begin with a PROXY header.
        """
        self._counters.opened()
        session = self._open_session(transport)
        await self._serve(session, partial(self._meet, session, proxy_protocol))

    async def serve_accepted(self, transport: Transport, fast_side: ClientSide | None) -> None:
        """Serve one client that was accepted on the fast path, like `serve`.

        Args:
            transport: as above.
            fast_side: what is known of it there; None if nothing is.
        """
        session = self._open_session(transport)
        session.fast_side = fast_side

        async def meet() -> Client:
            return Client(self._identification.peer(*transport.ends()))

        await self._serve(session, meet, fast_side)

    async def _serve(
        self,
        session: Http1Session,
        meet: Callable[[], Awaitable[Client | None]],
        fast_side: ClientSide | None = None,
    ) -> None:
        session.draining = self._draining
        self._sessions.add(session)
        client: Client | None = None
        try:
            client = await meet()
            if client is not None:
                await self._serve_client(session, client, fast_side)
        except (ClientGone, HostLimit):  # which the log has been told
            pass
        except Exception:  # a bug of ours must not cancel the listener's nursery with all clients
            log.exception("serving %s failed", session.transport.peer)
        finally:
            if client is not None:
                client.close_personal()
            session.cut()
            self._sessions.discard(session)
            self._counters.closed()
            if client is not None:
                self._address_limit.left(client.peer)

    def serve_without_tasks(self, limiter: ConnectionLimiter, give_task: GiveTask) -> bool:
        """Have clients served on the fast path without a task, if there is one.

        Returns:
            Whether there is; then `keep_taskless` has to run.

        Args:
            limiter: has the permits for them.
            give_task: called with the descriptor and address of a connection that needs a task for
                `serve_accepted`, and with what the fast path knows of it.
        """
        if self._fast_path is not None:
            self._taskless = self._fast_path.without_tasks(limiter, self._address_limit, give_task)
        return self._taskless is not None

    async def keep_taskless(self) -> None:
        """Let clients without a task live until they have drained, but no longer than this."""
        assert self._taskless is not None
        try:
            await self._taskless_ended.wait()
        finally:
            self._taskless.cancel()

    @contextmanager
    def acceptor(self, listener: Listener) -> Iterator[Acceptor | None]:
        """What accepts clients of a listener that need no task; None if nothing does."""
        if self._fast_path is None or self._taskless is None or listener.proxy_protocol:
            yield None
            return
        try:
            acceptor = self._fast_path.acceptor(
                self._taskless, listener.fileno(), limited=self._address_limit.limits
            )
        except OSError as exc:  # no watch is to be had
            watch_failed(exc)
            yield None
            return
        self.acceptors.add(acceptor)
        try:
            yield acceptor
        finally:
            self.acceptors.discard(acceptor)
            acceptor.detach()

    def drain(self) -> None:
        """Make the answers under way the last ones, and let idle clients go."""
        self._draining = True
        for session in self._sessions:
            session.drain()
        if self._taskless is not None:
            self._taskless.drain(self._taskless_ended.set)

    def evict_idle(self) -> int:
        """Close connections of clients that have been idle longest: an eighth, and not too many.

        Returns:
            How many those are; they end in a moment.
        """
        latest = trio.current_time() - _SETTLED
        idle: list[Http1Session | ClientSide] = [
            session for session in self._sessions if session.idle_since <= latest
        ]
        if self._taskless is not None:
            idle += self._taskless.idle_before(latest)
        number = min(-(-len(idle) // 8), _MOST_LET_GO)
        for each in nsmallest(number, idle, key=attrgetter("idle_since")):
            each.evict()
            self._counters.let_go()
        return number

    async def _meet(self, session: Http1Session, proxy_protocol: bool) -> Client | None:
        """Find out who is there; None if it is nobody who is served."""
        peer = self._identification.peer(*session.transport.ends())
        if proxy_protocol:
            introduced = await self._headers.receive(session.transport, peer)
            if introduced is None:
                return None
            peer, rest = introduced
            if rest:
                session.feed(rest)
        if self._address_limit.let_in(peer):
            return Client(peer)
        self._counters.refused()
        return None

    async def _serve_client(
        self, session: Http1Session, client: Client, fast_side: ClientSide | None
    ) -> None:
        turns = YieldBudget()
        if fast_side is None and self._fast_path is not None:
            fast_side = self._fast_path.attach(session, client.peer)
        with session.scope:
            while await self._serve_some(session, client, fast_side):
                await turns.step()

    async def _serve_some(
        self, session: Http1Session, client: Client, fast_side: ClientSide | None
    ) -> bool:
        """Serve all that is ordinary, then one request on the slow path; False at the end."""
        handover: Handover | None = None
        resumed: ResumedRequest | None = None
        # The fast path knows nothing of connections to servers that are for one client.
        if self._fast_path is not None and fast_side is not None and client.personal is None:
            handover = await self._fast_path.serve(session, fast_side, client.peer)
            if handover is None:
                return False
            resumed = self._fast_path.resumed(session, handover)
        with resumed or nullcontext():
            stream = await session.next_stream()
            if stream is None:
                return False
            self._counters.took_slow_path(self._slow_path_reason(stream.head, handover))
            await self._requests.serve(stream, client, resumed)
            if session.next_cycle():
                return True
        await session.end()
        return False

    def _slow_path_reason(
        self, head: RequestHead | ClientError, handover: Handover | None
    ) -> SlowPathReason:
        if self._fast_path is None or handover is None:
            return SlowPathReason.SETTINGS
        return self._fast_path.slow_path_reason(head, handover)
