"""The fast path, as seen from the slow one: taking it, and settling what it leaves.

The fast path itself is compiled (`trio_lb.fast.exchange`). It serves requests as long as nothing is
out of the ordinary, and has no policy: what it hands over is served by the slow path, and what
can't be served any more is settled here, by the same rules.
"""

from __future__ import annotations

from functools import lru_cache, partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias

import trio

from trio_lb.errors import ClientError, End
from trio_lb.fast.exchange import Acceptor, Clients, ClientSide, HandoverReason, Origin
from trio_lb.http.client_lines import claimed_lines, client_lines, from_here
from trio_lb.http.heads import find
from trio_lb.http.identity import Peer
from trio_lb.http.proxy_protocol import ProxyHeader
from trio_lb.net.host_limits import watch_failed
from trio_lb.net.transport import SocketTransport
from trio_lb.observe.record import CLIENT_GONE, Record
from trio_lb.pool import SlowPathReason

from .resumed import ResumedRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.downstream.address_limit import AddressLimit
    from trio_lb.downstream.http1_session import Http1Session
    from trio_lb.downstream.limiter import ConnectionLimiter
    from trio_lb.fast.exchange import FastPath, Handover
    from trio_lb.http.heads import Field, RequestHead
    from trio_lb.http.identity import Identification
    from trio_lb.http.proxy_protocol import Endpoint
    from trio_lb.plan import RouteTimeouts
    from trio_lb.pool import ServerPool

    from .forward import Forwarder

#: How requests end that nobody goes on with, by `Handover.why`.
_ENDS = {
    HandoverReason.CLIENT_GONE: End.CLIENT_GONE,
    HandoverReason.CLIENT_SLOW: End.CLIENT_SLOW,
    HandoverReason.TRUNCATED: End.SERVER_CUT,
    HandoverReason.CANCELLED: End.CANCELLED,
    HandoverReason.INTERNAL_ERROR: End.FAILED,
}

#: A descriptor, the address of its client, and what the fast path knows of that.
GiveTask: TypeAlias = "Callable[[int, bytes, ClientSide | None], None]"

#: Clients' addresses whose lines are kept: many come again, and often.
_ADDRESSES = 4096


class FastPathEntry:
    """The fast path of a process, for its proxy.

    Args:
        fast_path: the compiled one.
        timeouts: of the servers.
        servers: the pool that the fast path picks from.
        identification: knows what servers are told about a client.
        forwarder: knows the rules for a server that broke its response off.
        ended: told of every request that the fast path can't count by itself.
    """

    def __init__(
        self,
        fast_path: FastPath,
        timeouts: RouteTimeouts,
        servers: ServerPool,
        identification: Identification,
        forwarder: Forwarder,
        ended: Callable[[Record], None],
    ) -> None:
        self._fast_path = fast_path
        self._timeouts = timeouts
        self._servers = servers
        self._identification = identification
        self._origins = lru_cache(_ADDRESSES)(self._origin)
        self._forwarder = forwarder
        self._ended = ended

    def without_tasks(
        self, limiter: ConnectionLimiter, address_limit: AddressLimit, give_task: GiveTask
    ) -> Clients:
        """Those clients that the fast path serves without a task.

        Args:
            limiter: has the permits for them.
            address_limit: counts those of an address.
            give_task: called with the descriptor and address of a connection that needs one, and
                with what the fast path knows of it, if anything.
        """
        return Clients(self._fast_path, limiter, address_limit, give_task)

    def acceptor(self, clients: Clients, fd: int, *, limited: bool) -> Acceptor:
        """Accepts clients that have no task.

        Args:
            clients: those that were accepted.
            fd: a socket that listens.
            limited: whether they are counted by address.

        Raises:
            OSError: the socket can't be watched.
        """
        describe = partial(self._describe, limited)
        return Acceptor(clients, fd, describe, self._identification.tells_our_end)

    def _describe(self, limited: bool, ends: bytes) -> Origin:
        peer = self._identification.peer(*_unpacked(ends))
        return self._origin_of(peer, peer if limited else None)

    def _origin(self, address: str, trusted: bool, destination: Endpoint | None) -> Origin:
        return self._origin_of(Peer(address, trusted, ProxyHeader(destination=destination)), None)

    def _origin_of(self, peer: Peer, limited: Peer | None) -> Origin:
        lines = client_lines(self._identification, peer.address, peer.ends.destination)
        heed = partial(self._claimed_by, peer) if peer.trusted else None
        return Origin(lines, heed, peer.address.encode(), limited)

    def _claimed_by(self, proxy: Peer, fields: list[Field]) -> Origin:
        """Whom a trusted proxy speaks of in the fields of a request."""
        address, lines = claimed_lines(self._identification, proxy, fields)
        return Origin(lines, None, address.encode(), None)

    def attach(self, session: Http1Session, peer: Peer) -> ClientSide | None:
        """Let a client take this path; None if that can't be."""
        transport = session.transport
        if not isinstance(transport, SocketTransport):
            return None
        origin = self._origins(peer.address, peer.trusted, peer.ends.destination)
        try:
            fast_side = ClientSide(self._fast_path, transport.fileno(), transport.wire, origin)
        except OSError as exc:  # the slow path can do without
            watch_failed(exc)
            return None
        session.fast_side = fast_side
        if session.draining:
            fast_side.drain()
        return fast_side

    async def serve(
        self, session: Http1Session, fast_side: ClientSide, peer: Peer
    ) -> Handover | None:
        """Serve a client's requests as long as they are ordinary.

        Of a client that had no task so far, the fast path has served them already.

        Returns:
            What the slow path goes on with; None if the connection has ended.
        """
        try:
            if not fast_side.ended:
                await fast_side.run(*session.leave())
        finally:
            handover = fast_side.take_ending()
            falls_back = handover.why in (HandoverReason.FALLBACK, HandoverReason.NO_SERVER)
            unread, upstream = handover.unread, handover.upstream
            patience = chunk = None
            if upstream is not None:
                patience = upstream.patience
                if falls_back and upstream.gone is not None:
                    unread, chunk = from_here(unread, upstream.gone), upstream.chunk
            session.come_back(unread, fast_side.served, handover.began, patience, chunk)
            if handover.why in _ENDS:
                self._settle(session, handover, peer)
        if handover.why is HandoverReason.SERVED:
            await session.end(complete=True)
        return handover if falls_back else None

    def resumed(self, session: Http1Session, handover: Handover) -> ResumedRequest | None:
        """What was begun of the request that the slow path goes on with."""
        if handover.member is None:
            return None
        if handover.answer is not None:
            session.resume_answer(last=handover.answer.last)
        return ResumedRequest(handover, self._servers.adopt(handover.member), self._timeouts)

    @staticmethod
    def slow_path_reason(head: RequestHead | ClientError, handover: Handover) -> SlowPathReason:
        """Why the fast path has left a request to the slow one."""
        if isinstance(head, ClientError):
            return SlowPathReason.CLIENT
        if handover.why is HandoverReason.NO_SERVER:
            return SlowPathReason.NO_SERVER
        if handover.member is None:
            asks = find(head.fields, b"upgrade") is not None
            return SlowPathReason.UPGRADE if asks else SlowPathReason.REQUEST
        upstream = handover.upstream
        if handover.answer is not None or (upstream is not None and upstream.received):
            return SlowPathReason.RESPONSE
        if upstream is not None and not upstream.whole:
            return SlowPathReason.REQUEST
        return SlowPathReason.SERVER

    def _settle(self, session: Http1Session, handover: Handover, peer: Peer) -> None:
        """Count a request that nobody goes on with, and what its server had to do with it."""
        if handover.started is None or handover.began is None:
            return
        head = session.head_again()
        client = peer.address
        if head is not None and peer.trusted:
            client = self._identification.identify(peer, head.fields, None).address
        record = Record(
            began=handover.began,
            client=client,
            head=head,
            request_id=handover.request_id,
            bytes_received=handover.collected,
            ended=_ENDS[handover.why],
            reason=handover.reason or _ENDS[handover.why],
        )
        if handover.answer is not None:
            record.status, record.bytes_sent = handover.answer.status, handover.answer.passed
        if handover.member is not None:
            with self._servers.adopt(handover.member) as reservation:
                name = reservation.server.name
                duration = trio.current_time() - handover.started
                reused = handover.upstream is not None and handover.upstream.reused
                record.attempted(name, record.reason, duration, reused)
                if record.status:
                    record.server = name
                if record.ended is End.SERVER_CUT:
                    self._forwarder.blame_for_cut(reservation, client, record.reason)
        if not record.status and record.ended in (End.CLIENT_GONE, End.CLIENT_SLOW):
            record.status = CLIENT_GONE
        self._ended(record)


def _unpacked(ends: bytes) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    """The two ends of a connection, of which the fast path tells the first, or both.

    Args:
        ends: an IP address, and then perhaps another and a port; nothing for a unix socket.
    """
    if not ends:
        return None, None
    size = 4 if len(ends) in (4, 10) else 16
    client = str(ip_address(ends[:size])), 0
    if len(ends) == size:
        return client, None
    return client, (str(ip_address(ends[size:-2])), int.from_bytes(ends[-2:]))
