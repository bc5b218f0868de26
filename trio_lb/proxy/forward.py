"""Forwarding a request: which server gets it, and whether it is retried on another one.

* No connection: nothing was sent. The server is marked down at once, and any request may go to
  another one.
* Broken, malformed or too late before the client saw a byte: only a request that may safely be
  sent twice, and whose body is still remembered, goes to another server. The server is marked
  down only after several such failures in a row, if it is clear that they are its own (`blame`),
  and never if it is the last one alive: one bad request must not take the whole pool down.
* A reused connection that breaks before the first byte is not a failure of the server, which may
  just have closed it; nor is an unsolicited response on one (408). The same server gets the request
  once more, on a fresh connection.
* After the client has seen a byte: never again.
* No server is alive: the request waits for a moment (`outage`), if nothing of it was sent.
* An offer of another protocol (Upgrade) goes to a server on a fresh connection, and is never
  repeated once it was sent: the server may have begun the conversation.
* A client with a personal connection to a server (NTLM) keeps using it, and gets no other server
  while that one is full. If the connection is closed or the server down, any server may be picked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_lb.errors import (
    ClientError,
    ClientGone,
    ConnectFailed,
    ConnectionStale,
    End,
    HostLimit,
    NoServer,
    ResponseBroken,
    ResponseCut,
    ResponseTimeout,
    ServerError,
)
from trio_lb.http.forwarding import request_lines, request_target
from trio_lb.pool import State
from trio_lb.upstream.personal import PersonalConnection

from .attempt import attempt
from .blame import Inquiry
from .outage import Outage
from .tunnel import switch

if TYPE_CHECKING:
    from trio_lb.http.identity import ClientIdentity
    from trio_lb.net.transport import Transport
    from trio_lb.plan import RoutePlan
    from trio_lb.pool import Member, Reservation, ServerPool
    from trio_lb.upstream.connector import Connector
    from trio_lb.upstream.stream import UpstreamStream

    from .exchange import Exchange
    from .resumed import ResumedRequest
    from .tunnel import Relay

#: A request that can't be sent twice only travels on a connection that was used within this time
#: (seconds): the longer it was idle, the likelier its server closes it at this very moment.
_FRESH_ENOUGH = 0.5


class Forwarder:
    """Forwards requests to the servers of one pool.

    Args:
        route: how requests are forwarded.
        servers: who may be picked, and what became of them.
        connector: opens streams to them.
        relay: what passes the bytes of tunnels.

    Attributes:
        outage: somebody must run its `watch_forever`.
    """

    def __init__(
        self, route: RoutePlan, servers: ServerPool, connector: Connector, relay: Relay
    ) -> None:
        self._route = route
        self._servers = servers
        self._connector = connector
        self._relay = relay
        self.outage = Outage(servers, route.timeouts.connect)

    async def forward(
        self, exchange: Exchange, identity: ClientIdentity, resumed: ResumedRequest | None = None
    ) -> None:
        """Have a request answered by a server, to the last byte.

        Args:
            exchange: the request.
            identity: what servers are told about its client.
            resumed: what the fast path has done for it already; counts as the first try.

        Raises:
            NoServer: no server could be reached.
            ServerError: the last server that got the request failed.
            ResponseCut: a server failed after the client saw a part of its answer.
            ClientError, ClientGone: the client's side failed.
        """
        try:
            await self._try_servers(exchange, identity, resumed)
        finally:
            if exchange.inquiry is not None:
                exchange.inquiry.close()

    async def _try_servers(
        self, exchange: Exchange, identity: ClientIdentity, resumed: ResumedRequest | None
    ) -> None:
        """One server after the other, as far as the rules allow; raises like `forward`."""
        tried: tuple[Member, ...] = ()
        failure: ServerError | None = None
        reservation: Reservation | None = None
        left = 1 + self._route.retries
        patience: float | None = None
        while left:
            now = trio.current_time()
            if resumed is not None:
                now, reservation = resumed.started, resumed.reservation
            else:
                reservation = self._reserve(exchange, identity, now, tried)
            if reservation is None:
                if patience is None:
                    patience = self.outage.wait_until(now)
                if not await self._outage_is_over(failure, patience):
                    break
                tried = ()
                continue
            with reservation:
                try:
                    await self._try_server(exchange, identity, reservation, now, resumed)
                except (ConnectFailed, ResponseBroken, ResponseTimeout, ResponseCut) as exc:
                    self._blame(exchange, identity, reservation, exc)
                    if not _may_try_another(exchange, exc, failure):
                        raise
                    failure = _graver(failure, exc)
                    # A refusal costs next to nothing, and there are only so many servers to get
                    # one from: while one of them lives, the request reaches it. The same with a
                    # want of ours: there may be ports left for another server's address.
                    left -= not (isinstance(exc, ConnectFailed) and (exc.refused or exc.local))
                else:
                    reservation.completed(exchange.record.bytes_sent, exchange.bytes_received)
                    return
            tried = (*tried, reservation.member)
            resumed = None
        # Not to have reached the last one is the same as to have found nobody: nothing was sent.
        nobody = reservation is None or not self._servers.alive_count
        if failure is None or (nobody and isinstance(failure, ConnectFailed)):
            raise NoServer("no server is available", self._route.unavailable_status)
        raise failure

    def _reserve(
        self, exchange: Exchange, identity: ClientIdentity, now: float, tried: tuple[Member, ...]
    ) -> Reservation | None:
        """A slot of the server that the client has a connection of its own to, or of any one."""
        own = exchange.client.personal
        if own is None:
            return self._servers.reserve(now, tried)
        there = self._servers.has(own.server) and self._servers.state(own.server) == State.ALIVE
        if there and own.ends == identity.ends and own.silent:
            return self._servers.reserve_at(own.server)
        exchange.client.close_personal()
        return self._servers.reserve(now, tried)

    async def _outage_is_over(self, failure: ServerError | None, until: float) -> bool:
        """Nobody was picked: whether it is worth another try, since a server has come back."""
        if self._servers.alive_count or not (failure is None or isinstance(failure, ConnectFailed)):
            return False
        return await self.outage.is_over(until)

    async def _try_server(
        self,
        exchange: Exchange,
        identity: ClientIdentity,
        reservation: Reservation,
        now: float,
        resumed: ResumedRequest | None,
    ) -> None:
        """One server, on a kept connection if there is one; else, or once more, on a fresh one."""
        if resumed is not None and resumed.failure is not None:
            seconds = now - exchange.started
            exchange.record.attempted(
                reservation.server.name, resumed.failure.reason, seconds, False
            )
            raise resumed.failure
        begun = None if resumed is None else resumed.take()
        if resumed is not None and begun is not None:
            stream = self._connector.resume(
                begun, reservation.member.table_slot, self._route.timeouts, exchange.stream.progress
            )
            reused = resumed.reused
        else:
            under_way = None if resumed is None else resumed.under_way()
            stream, reused = await self._open(exchange, identity, reservation, under_way)
            if not reused:
                now = trio.current_time()
        try:
            await self._use(exchange, identity, reservation, stream, reused, now)
        except ConnectionStale:
            if not exchange.repeatable:
                raise
        else:
            return
        stream, reused = await self._open(exchange, identity, reservation, fresh=True)
        now = trio.current_time()
        await self._use(exchange, identity, reservation, stream, reused, now)

    async def _open(
        self,
        exchange: Exchange,
        identity: ClientIdentity,
        reservation: Reservation,
        under_way: Transport | None = None,
        *,
        fresh: bool = False,
    ) -> tuple[UpstreamStream, bool]:
        """A stream to a server, and whether it is on a connection that was kept."""
        own = None if fresh else exchange.client.take_personal()
        started = trio.current_time()
        try:
            return await self._connector.open(
                reservation.server,
                reservation.member.table_slot,
                self._route.timeouts,
                exchange.stream.progress,
                identity.ends,
                own=None if own is None else own.transport,
                # A tunnel would use the connection up; a stale one would fail it without a retry.
                fresh=fresh or bool(exchange.request.upgrade),
                max_idle=None if exchange.repeatable else _FRESH_ENOUGH,
                under_way=under_way,
            )
        except ConnectFailed as exc:
            seconds = trio.current_time() - started
            exchange.record.attempted(reservation.server.name, exc.reason, seconds, False)
            raise

    async def _use(
        self,
        exchange: Exchange,
        identity: ClientIdentity,
        reservation: Reservation,
        upstream: UpstreamStream,
        reused: bool,
        started: float,
    ) -> None:
        """One attempt on one stream, which is over afterwards, come what may."""
        address = reservation.server.address
        request, record = exchange.request, exchange.record
        lines = request_lines(request, identity, record.request_id, address.authority.encode())
        target = request_target(request.target, address.path.encode())
        outcome = "failed"
        try:
            switching = await attempt(exchange, upstream, reservation, target, lines, started)
            if switching is None:
                record.ended, record.reason = End.OK, "ok"
            else:
                timeouts = self._route.tunnel
                await switch(exchange, upstream, reservation, switching, timeouts, self._relay)
            outcome = "ok"
        except (ServerError, ClientError, ClientGone) as exc:
            outcome = str(exc)
            raise
        except trio.Cancelled:
            outcome = exchange.left or "cancelled"
            raise
        finally:
            now = trio.current_time()
            record.attempted(reservation.server.name, outcome, now - started, reused)
            if not self._servers.has(reservation.member):
                upstream.close()
            elif (own := upstream.release()) is not None:
                member = reservation.member
                exchange.client.keep_personal(PersonalConnection(member, own, identity.ends))

    def _blame(
        self,
        exchange: Exchange,
        identity: ClientIdentity,
        reservation: Reservation,
        failure: ServerError,
    ) -> None:
        """Mark a server down that can't be connected to; else find out whose failure it was."""
        if isinstance(failure, ConnectionStale):
            return
        if not isinstance(failure, ConnectFailed):
            if exchange.inquiry is None:
                exchange.inquiry = Inquiry(self._servers, identity.address)
            exchange.inquiry.failed(reservation, failure)
        elif not failure.local:
            reservation.failed(trio.current_time())
            self._servers.mark_down(reservation.member, failure.reason)

    def blame_for_cut(self, reservation: Reservation, client: str, reason: str) -> None:
        """A server broke off a response that `client` has seen a part of, on the fast path."""
        inquiry = Inquiry(self._servers, client)
        inquiry.failed(reservation, ResponseCut(reason))
        inquiry.close()


def _graver(earlier: ServerError | None, failure: ServerError) -> ServerError:
    """What a server did with a request says more than that another one could not be reached."""
    if earlier is None or isinstance(earlier, ConnectFailed):
        return failure
    return earlier if isinstance(failure, ConnectFailed) else failure


def _may_try_another(exchange: Exchange, failure: ServerError, earlier: ServerError | None) -> bool:
    """May the request go to another server after `failure`?"""
    begun = isinstance(failure, ResponseCut) or exchange.stream.answering
    if begun or not exchange.body.replayable:
        return False
    if isinstance(failure, ConnectFailed):
        nothing_sent = not (isinstance(failure, HostLimit) and failure.connected)
        return nothing_sent or exchange.request.idempotent
    if isinstance(failure, ResponseTimeout) and isinstance(earlier, ResponseTimeout):
        return False  # twice too slow: more likely the request than the servers
    return exchange.request.idempotent
