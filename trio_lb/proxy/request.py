"""Serving one request: admitted, answered by a server or by trio-lb, and recorded."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING

import trio

from trio_lb.errors import ClientError, ClientGone, End, NoServer, RequestError, ResponseCut
from trio_lb.http.admission import AdmittedRequest, admit
from trio_lb.http.answers import error_answer
from trio_lb.http.heads import find
from trio_lb.observe.record import CLIENT_GONE, Record

from .body import RequestBody
from .exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.downstream.stream import ClientStream
    from trio_lb.http.heads import RequestHead
    from trio_lb.http.identity import ClientIdentity, Identification
    from trio_lb.plan import RoutePlan
    from trio_lb.pool import Counters, ServerPool

    from .client import Client
    from .departures import Departures
    from .forward import Forwarder
    from .resumed import ResumedRequest


class RequestHandler:
    """Serves streams, of whatever connection and as many at a time as there are.

    Args:
        route: how requests are forwarded.
        servers: the pool.
        forwarder: has requests answered by these.
        identification: knows whose a request is.
        counters: of requests.
        departures: notices clients that leave.
        on_ended: told of every request that is over, if anybody wants to know.
    """

    def __init__(
        self,
        route: RoutePlan,
        servers: ServerPool,
        forwarder: Forwarder,
        identification: Identification,
        counters: Counters,
        departures: Departures,
        on_ended: Callable[[Record], None] | None = None,
    ) -> None:
        self._route = route
        self._servers = servers
        self._forwarder = forwarder
        self._identification = identification
        self._counters = counters
        self._on_ended = on_ended
        self._departures = departures
        self._run_id = os.urandom(6).hex().encode()
        self._serial = count(1)

    async def serve(
        self, stream: ClientStream, client: Client, resumed: ResumedRequest | None = None
    ) -> None:
        """Have one request answered, in whatever way, to the last byte.

        A stream that is still answering afterwards has broken off, and is to be cut by its session.

        Args:
            stream: the request.
            client: whose it is.
            resumed: what the fast path has done for it already.

        Raises:
            ClientGone: the client has left, or takes its answer too slowly.
            HostLimit: this host lacks what it takes to wait for the client.
        """
        head = stream.head
        if isinstance(head, ClientError):
            await self._refuse_head(stream, client, head)
        else:
            await self._serve(stream, head, client, resumed)

    async def _refuse_head(self, stream: ClientStream, client: Client, error: ClientError) -> None:
        """Answer what could not even be read as a request."""
        answer = error_answer(
            error.status, error.reason, page=self._route.error_pages.get(error.status)
        )
        record = Record(
            began=stream.began,
            client=client.peer.address,
            status=error.status,
            ended=error.end,
            reason=error.reason,
        )
        try:
            record.bytes_sent = await stream.answer(answer, close=True)
        finally:
            self.over(record)

    async def _serve(
        self,
        stream: ClientStream,
        head: RequestHead,
        client: Client,
        resumed: ResumedRequest | None,
    ) -> None:
        started = trio.current_time() if resumed is None else resumed.started
        record = Record(began=stream.began, client=client.peer.address, head=head)
        exchange: Exchange | None = None
        try:
            confined = self._servers.members.confined
            request = admit(head, self._route.body_limit, confined=confined)
            identity = self._identification.identify(client.peer, head.fields, request.host)
            record.client = identity.address
            exchange = self._exchange(stream, client, request, record, started, resumed)
            try:
                await self._forward(exchange, identity, resumed)
            except ResponseCut as exc:
                record.ended, record.reason = exc.end, exc.reason
        except RequestError as exc:
            # Of an answer that has begun, it is known how it began, however it ended.
            record.status = record.status or exc.status
            record.ended, record.reason = exc.end, exc.reason
            await self._answer(stream, record, exchange, exc)
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
            self.over(record)

    async def _forward(
        self, exchange: Exchange, identity: ClientIdentity, resumed: ResumedRequest | None
    ) -> None:
        """Have a server answer, as long as the client is there.

        Raises:
            ClientGone: it has left.
        """
        watch = self._departures.watch(exchange)
        try:
            await self._collect_small_body(exchange, resumed)
            await self._forwarder.forward(exchange, identity, resumed)
        except (trio.Cancelled, BaseExceptionGroup) as exc:
            if exchange.left and _is_cancellation(exc):
                raise ClientGone(exchange.left) from None
            raise
        finally:
            self._departures.forget(watch)

    def _exchange(
        self,
        stream: ClientStream,
        client: Client,
        request: AdmittedRequest,
        record: Record,
        started: float,
        resumed: ResumedRequest | None,
    ) -> Exchange:
        gone = resumed.gone if resumed is not None else 0
        body = RequestBody(stream, self._route.replay_body, self._route.body_limit, gone)
        request_id = resumed.request_id if resumed is not None else request.request_id
        record.request_id = request_id or b"%s-%x" % (self._run_id, next(self._serial))
        if resumed is not None and resumed.status:
            record.answered(resumed.reservation.server.name, resumed.status)
            record.bytes_sent = resumed.passed
        return Exchange(client, stream, request, body, record, started)

    async def _collect_small_body(self, exchange: Exchange, resumed: ResumedRequest | None) -> None:
        """Read a small body before a server is chosen.

        A slow sender then occupies no server, and the request can be tried again. A body that may
        be large, or whose sender waits for a 100 (Continue), is streamed.
        """
        body, length = exchange.body, exchange.request.framing.length
        try:
            body.take_available()
        except ClientError as exc:
            if resumed is not None:
                resumed.note(exchange, str(exc))
            raise
        if body.complete or exchange.request.expects_continue or not body.replayable:
            return
        if length is not None and length <= self._route.replay_body:
            await body.take_all()

    async def _answer(
        self,
        stream: ClientStream,
        record: Record,
        exchange: Exchange | None,
        error: RequestError,
    ) -> None:
        """Answer in a server's place, unless part of a server's answer is already out."""
        if stream.answering:
            return
        retry_after = None
        if isinstance(error, NoServer):
            retry_after = 1  # a full server has room soon, and dead ones are checked all the time
            # Why no server is available, with the id that the answer has.
            request_id = record.request_id.decode("latin-1") or "-"
            self._forwarder.outage.tell(request_id, trio.current_time())
        answer = error_answer(
            error.status,
            error.reason,
            accept=None if record.head is None else find(record.head.fields, b"accept"),
            request_id=record.request_id or None,
            retry_after=retry_after,
            page=self._route.error_pages.get(error.status),
        )
        close = exchange is None or not exchange.body.complete
        record.bytes_sent += await stream.answer(answer, close=close)

    def over(self, record: Record) -> None:
        """Count a request that is over, and tell who wants to know."""
        self._counters.ended(record.status)
        if self._on_ended is not None:
            record.over(trio.current_time())
            self._on_ended(record)


def _is_cancellation(exc: BaseException) -> bool:
    """Nothing but that: not even in a group, which comes of a nursery."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(trio.Cancelled)[1] is None
    return isinstance(exc, trio.Cancelled)
