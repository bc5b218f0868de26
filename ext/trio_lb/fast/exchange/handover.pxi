"""What the fast path leaves to the slow path; see handover.pxd."""

cimport cython

from trio_lb.fast.http1 cimport Body, BODY_END, within_chunk
from trio_lb.fast.loop cimport discard, NEVER, take_transport, TICK


@cython.final
@cython.auto_pickle(False)
cdef class Handover:
    """Why a client's run on the fast path has ended, and all that the slow path needs to go on.

    Attributes:
        why: a HandoverReason.
        reason: for people, with CLIENT_GONE, CLIENT_SLOW and TRUNCATED.
        unread: the client's bytes, from the beginning of the request under way.
        began: when the first of them came, or None.
        started: when the request's head was complete, or None.
        member: of the pool, the server whose slot is held and has to be given back; or None.
        request_id: that this server knows the request by; empty without one.
        collected: bytes of the request's body, if there is a server.
        connect_error: number of the error that connecting has met, -1 for too late, else 0;
            EINPROGRESS: `upstream` is not connected yet.
        upstream: the server's side of the request; None without a connection to it.
        answer: None if the client has seen nothing of one.
    """


@cython.final
@cython.auto_pickle(False)
cdef class UpstreamState:
    """A connection to a server, and how far the request on it is.

    Attributes:
        transport: the connection, which has to be closed; None but with FALLBACK.
        reused: it was used before.
        stale: what has come on it had come before the request was sent; none of it was received.
        unsent: bytes of the request that are to be sent first.
        whole: all of the request was sent, or is in `unsent`.
        begun_body: bytes in `unread` of the request's body that were sent, or are in `unsent`.
        gone: bytes of a body that are not in `unread` any more: they were sent, or are in
            `unsent`; None: all that came is in `unread`.
        chunk: bytes of a chunked body's chunk that are still to be sent, where its size and no
            more than its data was sent, or is in `unsent`; else None.
        patience: seconds for which the sender of a large body that is under way may be waited for;
            None without one.
        server_waited: seconds for which the server has taken nothing of what is in `unsent`.
        sent: when the request had been sent.
        interims: 1xx responses that have come, and are not in `received`.
        received: bytes of the response that were not passed on.
    """


@cython.final
@cython.auto_pickle(False)
cdef class AnswerState:
    """A response of which the client has seen the head.

    Attributes:
        status: its status.
        last: its head said that the client's connection ends with it.
        server_closes: the server's head said that of the server's connection.
        passed: bytes of its body that the client has got.
    """


cdef Handover empty_handover(HandoverReason why, str reason):
    cdef Handover handover = Handover.__new__(Handover)
    handover.why = why
    handover.reason = reason
    handover.unread = handover.request_id = b""
    return handover


cdef Handover hand_over(ClientSide client, HandoverReason why, str reason):
    cdef Handover handover = empty_handover(why, reason)
    cdef Exchange exchange = client.exchange
    cdef Buffer *input = &client.input
    handover.unread = as_bytes(input.data, input.start, input.end)
    handover.began = time_or_none(exchange.began)
    handover.started = time_or_none(exchange.started)
    if exchange.server is not None:
        handover.member = exchange.server.member
        handover.request_id = exchange.id_given()
        handover.collected = exchange.body_length()
        handover.connect_error = exchange.connect_error
    if exchange.status:
        handover.answer = answer_state(exchange)
    if exchange.upstream is not None:
        handover.upstream = upstream_state(exchange, handover)
        if why == FALLBACK:
            handover.upstream.transport = take_transport(exchange.upstream)
        else:
            discard(exchange.upstream)
    return handover


cdef AnswerState answer_state(Exchange exchange):
    cdef AnswerState answer = AnswerState.__new__(AnswerState)
    answer.status = exchange.status
    answer.last = exchange.last
    answer.server_closes = not exchange.reusable
    answer.passed = exchange.flow.framing.payload
    return answer


cdef UpstreamState upstream_state(Exchange exchange, Handover handover):
    cdef UpstreamState upstream = UpstreamState.__new__(UpstreamState)
    cdef Flow *flow = &exchange.flow
    upstream.reused = exchange.upstream.reused
    upstream.stale = exchange.upstream.stale
    upstream.sent = exchange.sent
    upstream.interims = exchange.interims
    upstream.unsent = rest_of_request(exchange)
    upstream.received = as_bytes(flow.body.data, flow.good, flow.body.end)
    if exchange.uploading and exchange.state != CONNECTING:
        leave_upload(exchange, handover, upstream)
    else:
        upstream.begun_body = exchange.body_length()
        upstream.whole = True
    return upstream


cdef bytes rest_of_request(Exchange exchange):
    """What a server did not take at once."""
    cdef Buffer *input = &exchange.client.input
    cdef Buffer *head = &exchange.flow.head
    cdef Flow *upload = &exchange.upload
    cdef size_t body = input.start + exchange.head.length
    cdef size_t body_sent = max(head.start, head.end) - head.end
    if exchange.state == WAITING or exchange.state == RELAYING:
        return b""
    if exchange.state == UPLOADING:
        return as_bytes(upload.head.data, upload.head.start, upload.head.end) + as_bytes(
            upload.body.data, upload.body.start, upload.good)
    return as_bytes(head.data, head.start, head.end) + as_bytes(
        input.data, body + body_sent,
        min(input.start + exchange.request_length, input.end))


cdef int leave_upload(Exchange exchange, Handover handover, UpstreamState upstream) except -1:
    """What was kept of a streamed body is read again, or else only what did not go on."""
    cdef Buffer *input = &exchange.client.input
    cdef Flow *upload = &exchange.upload
    cdef Body *framing = &upload.framing
    cdef size_t behind = input.start + exchange.request_length
    cdef bytes body = as_bytes(upload.body.data, upload.good, upload.body.end)
    cdef double now = exchange.path.readiness.now, left = exchange.client.send_credit.left
    if exchange.choked:
        upstream.server_waited = now - exchange.choke.since + TICK
    else:
        left -= now - exchange.client.send_credit.since - TICK
    upstream.whole = framing.state == BODY_END
    if within_chunk(framing):
        upstream.chunk = framing.remaining
    if exchange.keeping:
        body = as_bytes(exchange.kept.data, exchange.kept.start, exchange.kept.end) + body
        upstream.begun_body = framing.payload
    else:
        upstream.gone = framing.payload
        if framing.chunked and upstream.whole:
            body = b"0\r\n\r\n"        # nothing is behind what is gone
    handover.unread = as_bytes(input.data, input.start, behind) + body + as_bytes(
        input.data, behind, input.end)
    upstream.patience = min(max(left, TICK), exchange.path.patience.body)
    return 0


cdef object time_or_none(double time):
    return None if time == NEVER else time


cdef bytes as_bytes(const char *data, size_t start, size_t end):
    return data[start:end] if start < end else b""
