"""Serving clients: request after request, each with an answer, until one side has enough."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from heapq import nsmallest
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING

import trio

from trio_lb.downstream.address_limit import AddressLimit
from trio_lb.downstream.proxy_header import ProxyHeaders
from trio_lb.errors import (
    ClientError,
    ClientGone,
    End,
    HostLimit,
    NoServer,
    RequestError,
    ResponseCut,
)
from trio_lb.http.admission import AdmittedRequest, admit
from trio_lb.http.answers import error_answer
from trio_lb.http.heads import find
from trio_lb.http.identity import Identification, Peer
from trio_lb.net.transport import Transport, YieldBudget
from trio_lb.observe.record import CLIENT_GONE, Record

from .body import RequestBody
from .client import ClientConnection
from .departures import Departures
from .exchange import Exchange
from .forward import Forwarder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_lb.config import ErrorPage, Profile
    from trio_lb.fast.exchange.fast_path import FastPath
    from trio_lb.http.heads import RequestHead
    from trio_lb.net.dial import Dial
    from trio_lb.pool import Counters, Permits, ServerPool
    from trio_lb.upstream.idle_pool import IdleConnections

    from .fast_path import Plain
    from .resumed import ResumedRequest

log = logging.getLogger("trio_lb.proxy")

#: Who has just come, or was just served, is not idle yet; seconds.
_SETTLED = 1.0

#: Idle connections that are closed at one time for want of room.
_MOST_LET_GO = 32


class Proxy:
    """Serves clients from the servers of one pool.

    Args:
        profile: limits, timeouts, retries.
        servers: the pool.
        counters: of the clients of this process.
        permits: for those of one address.
        upstreams: its idle connections.
        dial: how to connect to a server.
        pages: the user's own error pages, by status.
        on_ended: told of every request that is over, if anybody wants to know.
        fast_path: the fast path, if it is to be used.

    Attributes:
        departures: notices clients that leave; somebody's nursery must run its `watch_forever`.
        outage: somebody must run its `watch_forever`.
    """

    def __init__(
        self,
        profile: Profile,
        servers: ServerPool,
        counters: Counters,
        permits: Permits,
        upstreams: IdleConnections,
        dial: Dial,
        pages: Mapping[int, ErrorPage],
        on_ended: Callable[[Record], None] | None = None,
        fast_path: FastPath | None = None,
    ) -> None:
        self._profile = profile
        self._confined = any(server.address.path for server in profile.servers)
        self._servers = servers
        self._forwarder = Forwarder(profile, servers, upstreams, dial)
        self.outage = self._forwarder.outage
        self._identification = Identification(profile.trusted_proxies or (), profile.forwarded)
        self._headers = ProxyHeaders(self._identification, profile.timeouts.client_head)
        self._address_limit = AddressLimit(permits, profile.limits.clients_per_address)
        self._pages = pages
        self._on_ended = on_ended
        self._clients: set[ClientConnection] = set()
        self.departures = Departures(profile.timeouts.half_closed)
        self._draining = False
        self._run_id = os.urandom(6).hex().encode()
        self._serial = count(1)
        self._counters = counters
        self._plain: Plain | None = None
        if fast_path is not None:
            from .fast_path import Plain  # there are builds without it

            self._plain = Plain(
                fast_path,
                profile,
                servers,
                self._identification,
                self._forwarder,
                self._over,
                None if on_ended is None else self._tell,
            )

    async def serve(self, transport: Transport, proxy_protocol: bool = False) -> None:
        """Serve one client until its connection ends, and close it.

        Nothing but cancellation comes out: what goes wrong with one client is its own affair.

        Args:
            transport: its bytes; closed at the end.
            proxy_protocol: they begin with a PROXY header.
        """
        client = ClientConnection(transport, self._profile)
        client.draining = self._draining
        self._clients.add(client)
        self._counters.opened()
        peer: Peer | None = None
        try:
            peer = await self._meet(client, proxy_protocol)
            if peer is not None:
                await self._serve_requests(client, peer)
        except (ClientGone, HostLimit):  # which the log has been told
            pass
        except Exception:  # a bug of ours must not cancel the listener's nursery with all clients
            log.exception("serving %s failed", transport.peer)
        finally:
            client.cut()
            self._clients.discard(client)
            self._counters.closed()
            if peer is not None:
                self._address_limit.left(peer)

    def drain(self) -> None:
        """Make the answers under way the last ones, and let idle clients go."""
        self._draining = True
        for client in self._clients:
            client.drain()

    def evict_idle(self) -> int:
        """Close connections of clients that have been idle longest: an eighth, and not too many.

        Returns:
            How many those are; they end in a moment.
        """
        latest = trio.current_time() - _SETTLED
        idle = [client for client in self._clients if client.idle_since <= latest]
        number = min(-(-len(idle) // 8), _MOST_LET_GO)
        for client in nsmallest(number, idle, key=attrgetter("idle_since")):
            client.let_go()
            self._counters.let_go()
        return number

    async def _meet(self, client: ClientConnection, proxy_protocol: bool) -> Peer | None:
        """Find out who is there; None if it is nobody who is served."""
        peer = self._identification.peer(*client.transport.ends())
        if proxy_protocol:
            introduced = await self._headers.receive(client.transport, peer)
            if introduced is None:
                return None
            peer, rest = introduced
            if rest:
                client.feed(rest)
        if self._address_limit.let_in(peer):
            return peer
        self._counters.refused()
        return None

    async def _serve_requests(self, client: ClientConnection, peer: Peer) -> None:
        turns = YieldBudget()
        if self._plain is not None:
            self._plain.attach(client, peer)
        while await self._serve_some(client, peer):
            await turns.step()

    async def _serve_some(self, client: ClientConnection, peer: Peer) -> bool:
        """Serve all that is plain, and then one request on the slow path; False at the end."""
        begun: ResumedRequest | None = None
        # The fast path knows nothing of connections to servers that are for one client.
        plain = client.fast_side if client.personal is None else None
        if self._plain is not None and plain is not None:
            handover = await self._plain.serve(client, plain, peer)
            if handover.why == "served":
                await client.end(complete=True)
            if handover.why != "odd":
                return False
            begun = self._plain.begun(client, handover)
        with begun or nullcontext():
            try:
                head = await client.next_request()
            except ClientError as exc:
                await self._refuse_head(client, peer, exc)
            else:
                if head is None:
                    return False
                await self._serve_request(client, peer, head, begun)
                if client.next_cycle():
                    return True
        await client.end()
        return False

    async def _refuse_head(self, client: ClientConnection, peer: Peer, exc: ClientError) -> None:
        """Answer what could not even be read as a request."""
        answer = error_answer(exc.status, exc.reason, page=self._pages.get(exc.status))
        record = Record(
            began=trio.current_time() if client.began is None else client.began,
            client=peer.address,
            status=exc.status,
            ended=exc.end,
            reason=exc.reason,
        )
        try:
            record.bytes_sent = await client.answer(answer, close=True)
        finally:
            self._over(record)

    async def _serve_request(
        self, client: ClientConnection, peer: Peer, head: RequestHead, begun: ResumedRequest | None
    ) -> None:
        started = trio.current_time() if begun is None else begun.started
        began = started if client.began is None else client.began
        record = Record(began=began, client=peer.address, head=head)
        exchange: Exchange | None = None
        try:
            request = admit(head, self._profile.limits.body, confined=self._confined)
            identity = self._identification.identify(peer, head.fields, request.host)
            record.client = identity.address
            exchange = self._exchange(client, request, record, started, begun)
            try:
                with self.departures.watching(exchange):
                    await self._collect_small_body(exchange, begun)
                    await self._forwarder.forward(exchange, identity, begun)
            except ResponseCut as exc:
                record.ended, record.reason = exc.end, exc.reason
        except RequestError as exc:
            # Of an answer that has begun, it is known how it began, however it ended.
            record.status = record.status or exc.status
            record.ended, record.reason = exc.end, exc.reason
            await self._answer(client, record, exchange, exc)
        except ClientGone as exc:
            record.status = record.status or CLIENT_GONE
            record.ended, record.reason = exc.end, str(exc)
            raise
        except Exception:  # a bug of ours, which the caller tells of
            record.ended, record.reason = End.FAILED, "failed"
            raise
        finally:
            if exchange is not None:
                record.bytes_received = exchange.bytes_received
            self._over(record)

    def _exchange(
        self,
        client: ClientConnection,
        request: AdmittedRequest,
        record: Record,
        started: float,
        begun: ResumedRequest | None,
    ) -> Exchange:
        gone = begun.gone if begun is not None else 0
        limits = self._profile.limits
        body = RequestBody(client, self._profile.replay_body, limits.body, gone)
        request_id = begun.request_id if begun is not None else request.request_id
        record.request_id = request_id or b"%s-%x" % (self._run_id, next(self._serial))
        if begun is not None and begun.status:
            record.answered(begun.reservation.server.name, begun.status)
            record.bytes_sent = begun.passed
        return Exchange(client, request, body, record, started)

    async def _collect_small_body(self, exchange: Exchange, begun: ResumedRequest | None) -> None:
        """Read a small body before a server is chosen.

        A slow sender then occupies no server, and the request can be tried again. A body that may
        be large, or whose sender waits for a 100 (Continue), is streamed.
        """
        body, length = exchange.body, exchange.request.framing.length
        try:
            body.take_available()
        except ClientError as exc:
            if begun is not None:
                begun.note(exchange, str(exc))
            raise
        if body.complete or exchange.request.expects_continue or not body.replayable:
            return
        if length is not None and length <= self._profile.replay_body:
            await body.take_all()

    async def _answer(
        self,
        client: ClientConnection,
        record: Record,
        exchange: Exchange | None,
        error: RequestError,
    ) -> None:
        """Answer in a server's place, unless part of a server's answer is already out."""
        if client.answering:
            return
        retry_after = None
        if isinstance(error, NoServer):
            retry_after = 1  # who is full has room soon, and who is dead is checked all the time
            # Why no server is available, with the id that the answer has.
            self.outage.tell(record.request_id.decode("latin-1") or "-", trio.current_time())
        answer = error_answer(
            error.status,
            error.reason,
            accept=None if record.head is None else find(record.head.fields, b"accept"),
            request_id=record.request_id or None,
            retry_after=retry_after,
            page=self._pages.get(error.status),
        )
        close = exchange is None or not exchange.body.complete
        record.bytes_sent += await client.answer(answer, close=close)

    def _over(self, record: Record) -> None:
        """Count a request that is over, and tell who wants to know."""
        self._counters.ended(record.status)
        self._tell(record)

    def _tell(self, record: Record) -> None:
        if self._on_ended is not None:
            record.over(trio.current_time())
            self._on_ended(record)
