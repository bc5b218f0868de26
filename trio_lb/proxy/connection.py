"""Serving clients: request after request, each with an answer, until one side has enough."""

from __future__ import annotations

import logging
import math
import os
from heapq import nsmallest
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import trio

from trio_lb.errors import ClientError, ClientGone, NoServer, RequestError, ResponseCut
from trio_lb.net.transport import Transport, Turns
from trio_lb.wire.admission import AdmittedRequest, admit
from trio_lb.wire.answers import error_answer
from trio_lb.wire.heads import RequestHead, find
from trio_lb.wire.identity import Identification, Peer

from .address_limit import AddressLimit
from .body import RequestBody
from .client import ClientConnection
from .exchange import Exchange
from .forward import Forwarder
from .proxy_header import ProxyHeaders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_lb.balance import ServerPool
    from trio_lb.net.dial import Dial
    from trio_lb.net.upstream_pool import UpstreamPool
    from trio_lb.profile import ErrorPage, Profile

log = logging.getLogger("trio_lb.proxy")

#: Who has just come, or was just served, is not idle yet; seconds.
_SETTLED = 1.0

#: Idle connections that are closed at one time for want of room.
_MOST_LET_GO = 32

#: nginx's status for "the client left before it had its answer"; seen in logs only.
CLIENT_GONE = 499


class Ended(NamedTuple):
    """A request that is over.

    Attributes:
        client: the client's address, as far as we were told by those who are trusted.
        head: the request's head, None where it could not be read.
        exchange: what was tried, None where the request was refused.
        status: of the answer; 499 where the client left without one.
        seconds: from the complete head to the end.
        why: `ok`, or why there was no whole answer from a server, or why its tunnel was cut.
    """

    client: str
    head: RequestHead | None
    exchange: Exchange | None
    status: int
    seconds: float
    why: str


class Proxy:
    """Serves clients from the servers of one pool.

    Args:
        profile: limits, timeouts, retries.
        servers: the pool.
        upstreams: its idle connections.
        dial: how to connect to a server.
        pages: the user's own error pages, by status.
        on_ended: told of every request that is over, if anybody wants to know.

    Attributes:
        tally: the counters.
    """

    def __init__(
        self,
        profile: Profile,
        servers: ServerPool,
        upstreams: UpstreamPool,
        dial: Dial,
        pages: Mapping[int, ErrorPage],
        on_ended: Callable[[Ended], None] | None = None,
    ) -> None:
        self._profile = profile
        self._servers = servers
        self._forwarder = Forwarder(profile, servers, upstreams, dial)
        self._identification = Identification(profile.trusted_proxies or (), profile.forwarded)
        self._headers = ProxyHeaders(self._identification, profile.timeouts.client_head)
        self._address_limit = AddressLimit(servers.places, profile.limits.clients_per_address)
        self._pages = pages
        self._on_ended = on_ended
        self._clients: set[ClientConnection] = set()
        self._draining = False
        self._run_id = os.urandom(6).hex().encode()
        self._serial = count(1)
        self.tally = servers.tally

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
        self.tally.opened()
        peer: Peer | None = None
        try:
            peer = await self._meet(client, proxy_protocol)
            if peer is not None:
                await self._serve_requests(client, peer)
        except ClientGone:
            pass
        except Exception:  # a bug of ours must not cancel the listener's nursery with all clients
            log.exception("serving %s failed", transport.peer)
        finally:
            client.cut()
            self._clients.discard(client)
            self.tally.closed()
            if peer is not None:
                self._address_limit.left(peer)

    def drain(self) -> None:
        """Make the answers under way the last ones, and let idle clients go."""
        self._draining = True
        for client in self._clients:
            client.drain()

    def let_idle_go(self) -> int:
        """Close connections of clients that have been idle longest: an eighth, and not too many.

        Returns:
            How many those are; they end in a moment.
        """
        latest = trio.current_time() - _SETTLED
        idle = [client for client in self._clients if client.idle_since <= latest]
        number = min(-(-len(idle) // 8), _MOST_LET_GO)
        for client in nsmallest(number, idle, key=attrgetter("idle_since")):
            client.let_go()
            self.tally.let_go()
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
        self.tally.refused()
        return None

    async def _serve_requests(self, client: ClientConnection, peer: Peer) -> None:
        turns = Turns()
        while True:
            try:
                head = await client.next_request()
            except ClientError as exc:
                await self._refuse_head(client, peer, exc)
                break
            if head is None:
                return
            await self._serve_request(client, peer, head)
            del head  # nothing of it is kept while the connection is idle
            if not client.next_cycle():
                break
            await turns.step()
        await client.end()

    async def _refuse_head(self, client: ClientConnection, peer: Peer, exc: ClientError) -> None:
        """Answer what could not even be read as a request."""
        answer = error_answer(exc.status, exc.reason, page=self._pages.get(exc.status))
        try:
            await client.answer(answer, close=True)
        finally:
            self._ended(peer.address, None, None, trio.current_time(), exc.status, exc.reason)

    async def _serve_request(self, client: ClientConnection, peer: Peer, head: RequestHead) -> None:
        started = trio.current_time()
        exchange: Exchange | None = None
        status, why = 0, "cancelled"
        address = peer.address
        try:
            request = admit(head, self._profile.limits.body)
            identity = self._identification.identify(peer, head.fields, request.host)
            address = identity.address
            exchange = self._exchange(client, request, started)
            try:
                await self._collect_small_body(exchange)
                await self._forwarder.forward(exchange, identity)
                status, why = exchange.status, exchange.ended
            except ResponseCut as exc:
                status, why = exchange.status, exc.reason
        except RequestError as exc:
            status, why = exc.status, exc.reason
            await self._answer(client, head, exchange, exc)
        except ClientGone as exc:
            status, why = CLIENT_GONE, str(exc)
            raise
        finally:
            if exchange is not None and not status:
                status = exchange.status  # cancelled, but the client has seen it
            self._ended(address, head, exchange, started, status, why)

    def _exchange(
        self, client: ClientConnection, request: AdmittedRequest, started: float
    ) -> Exchange:
        body = RequestBody(client, self._profile.replay_body, self._profile.limits.body)
        request_id = request.request_id or b"%s-%x" % (self._run_id, next(self._serial))
        return Exchange(client, request, body, request_id, started)

    async def _collect_small_body(self, exchange: Exchange) -> None:
        """Read a small body before a server is chosen.

        A slow sender then occupies no server, and the request can be tried again. A body that may
        be large, or whose sender waits for a 100 (Continue), is streamed.
        """
        body, length = exchange.body, exchange.request.content_length
        body.take_available()
        if body.complete or exchange.request.expects_continue:
            return
        if length is not None and length <= self._profile.replay_body:
            await body.take_all()

    async def _answer(
        self,
        client: ClientConnection,
        head: RequestHead,
        exchange: Exchange | None,
        error: RequestError,
    ) -> None:
        """Answer in a server's place, unless part of a server's answer is already out."""
        if client.answering:
            return
        retry_after = None
        if isinstance(error, NoServer):
            full = self._servers.alive_count > 0
            retry_after = 1 if full else math.ceil(self._profile.health_check.interval)
        answer = error_answer(
            error.status,
            error.reason,
            accept=find(head.fields, b"accept"),
            request_id=None if exchange is None else exchange.request_id,
            retry_after=retry_after,
            page=self._pages.get(error.status),
        )
        close = exchange is None or not exchange.body.complete
        await client.answer(answer, close=close)

    def _ended(
        self,
        client: str,
        head: RequestHead | None,
        exchange: Exchange | None,
        started: float,
        status: int,
        why: str,
    ) -> None:
        self.tally.ended(status)
        if self._on_ended is None:
            return
        seconds = trio.current_time() - started
        self._on_ended(Ended(client, head, exchange, status, seconds, why))
