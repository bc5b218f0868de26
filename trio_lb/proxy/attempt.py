"""One attempt of one request on one server, on one stream.

The head is sent, the body with it or while the response comes back, and the response goes to the
client. Failures are raised; whether to retry is decided in `forward`.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from trio_lb.errors import ResponseBroken, ResponseCut, ResponseTimeout
from trio_lb.http.dates import http_date
from trio_lb.http.forwarding import response_lines, trailer_lines
from trio_lb.http.upgrade import takes_up
from trio_lb.net.deadlines import NEVER
from trio_lb.net.transport import YieldBudget

from .duplex import duplex

if TYPE_CHECKING:
    from trio_lb.http.heads import FieldLine, ResponseHead
    from trio_lb.pool import Reservation
    from trio_lb.upstream.stream import UpstreamStream

    from .exchange import Exchange


async def attempt(
    exchange: Exchange,
    upstream: UpstreamStream,
    reservation: Reservation,
    target: bytes,
    lines: list[FieldLine],
    started: float,
) -> ResponseHead | None:
    """Send the request to a server and pass its response on, to the last byte.

    Args:
        exchange: the request, its body and its client.
        upstream: a stream to the server; the caller ends it.
        reservation: the server's slot, told when the response begins.
        target, lines: the request head as this server gets it.
        started: when, on Trio's clock.

    Returns:
        The head of a 101 that takes up what the client offered, for `tunnel.switch` to pass on;
        None after any other response.

    Raises:
        ResponseBroken, ResponseTimeout: nothing of the response has reached the client.
        ResponseCut: some of it has; the client's stream must be cut.
        ClientError, ClientGone: the client's side failed.
    """
    body = exchange.body

    async def upload() -> None:
        try:
            await upstream.send_rest(body.trailers)
            if waits_for_continue:
                upstream.expect_first_word()
            if not body.complete:
                await _upload(exchange, upstream)
        except (ResponseBroken, ResponseTimeout):
            # The server may have answered before it stopped reading (413): its answer counts.
            upstream.expect_answer()

    waits_for_continue = exchange.request.expects_continue and not (body.size or body.complete)
    if waits_for_continue:
        exchange.stream.progress.hold_client_back()
    method = exchange.request.method
    sent = upstream.begin_request(method, target, lines, body.kept, body.trailers)
    # What doesn't leave at once leaves beside the answer: a server that has refused the request
    # by its head may read no more of it.
    if sent and body.complete:
        return await _respond(exchange, upstream, reservation, started)
    return await duplex(partial(_respond, exchange, upstream, reservation, started), upload)


async def _respond(
    exchange: Exchange, upstream: UpstreamStream, reservation: Reservation, started: float
) -> ResponseHead | None:
    """Read the response and pass it on; but a 101, which is returned."""
    head = await _final_head(exchange, upstream)
    sent = upstream.sent
    now = trio.current_time()
    # The time that a client takes to upload a body is not its server's.
    if not exchange.stream.answering:
        seconds = now - (started if sent == NEVER else sent)
        reservation.answered(now, seconds, head.status)
    if exchange.inquiry is not None:
        exchange.inquiry.answered(head.status)
    if head.status == 101:
        return head
    await _pass_on(exchange, upstream, reservation, head)
    return None


async def _upload(exchange: Exchange, upstream: UpstreamStream) -> None:
    body = exchange.body
    turns = YieldBudget()
    while (data := await body.next()) is not None:
        upstream.body_goes_on()
        await upstream.continue_request([data], None)
        await turns.step()
    await upstream.continue_request([], body.trailers)


async def _final_head(exchange: Exchange, upstream: UpstreamStream) -> ResponseHead:
    """Read up to the final head, or a 101; other interim ones are passed on as they come."""
    while (head := await upstream.read_head()).status < 200:
        if head.status == 101:
            if not upstream.switched or not takes_up(head, exchange.request.upgrade):
                raise ResponseBroken("the server switched to a protocol that was not offered")
            return head
        # A 100 (Continue) is for those who asked; others may not know what it is.
        if head.status == 100:
            upstream.body_goes_on()
            exchange.stream.progress.let_client_go_on()
        if head.status != 100 or exchange.request.expects_continue:
            await exchange.stream.send_informational(head.status, head.reason, response_lines(head))
    return head


async def _pass_on(
    exchange: Exchange,
    upstream: UpstreamStream,
    reservation: Reservation,
    head: ResponseHead,
) -> None:
    """Pass a final response on, as it comes and as fast as the client takes it.

    What has arrived together leaves together: most responses are one send.
    """
    stream, record = exchange.stream, exchange.record
    turns = YieldBudget()
    try:
        parts, trailers = _available(upstream)
        record.answered(reservation.server.name, head.status)
        record.bytes_sent += sum(map(len, parts))
        lines = response_lines(head, http_date(int(time.time())))
        await stream.begin_response(head.status, head.reason, lines, parts, trailers)
        while trailers is None:
            await upstream.receive_body()
            parts, trailers = _available(upstream)
            record.bytes_sent += sum(map(len, parts))
            await stream.continue_response(parts, trailers)
            await turns.step()
    except (ResponseBroken, ResponseTimeout) as exc:
        if not stream.answering:
            raise
        raise ResponseCut(exc.reason) from exc


def _available(upstream: UpstreamStream) -> tuple[list[bytes], list[FieldLine] | None]:
    """What is here of the response's body, and the trailers that may go on if its end is, too."""
    parts, trailers = upstream.available()
    return parts, trailers and trailer_lines(trailers)
