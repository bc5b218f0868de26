"""The last stage of a plain request: its response; see response.pxd."""

from trio_lb.fast.http1 cimport (
    begin_body, BODY_BROKEN, BODY_END, BODY_MORE, HEAD, NEED_MORE, parse_response, ParsedResponse,
    Verdict, write_response,
)
from trio_lb.fast.loop cimport (
    Buffer, came_after, discard, FAILED, held, LARGE, may_splice, NOTHING, set_deadline,
    silent, SMALL, TICK, unsent, Upstream,
)

#: For a body behind a head that came alone. Many servers send it right behind, in a piece of its
#: own; then it is there when events are looked for next, and goes on with the head. The first of
#: these looks is still before that.
cdef enum:
    LOOKS = 2
    REQUEST_TIMEOUT = 408


cdef void await_response(Exchange exchange) noexcept:
    cdef FastPath path = exchange.path
    exchange.sent = path.readiness.now
    path.readiness.under_way += 1
    exchange.looks = 0
    exchange.state = WAITING
    set_deadline(path.readiness, exchange.client, exchange.sent + min(
        PATIENCE, exchange.route.response_timeout - TICK))


cdef void read_response(Exchange exchange) noexcept:
    cdef ParsedResponse head
    if exchange.upstream.readable:
        read_head(exchange)
    elif exchange.looks > 1:
        exchange.looks -= 1
        exchange.path.readiness.again(exchange.client)
    elif exchange.looks == 1:           # without the body, then
        next_head(exchange, 0, &head)
        begin_response(exchange, &head)


cdef void read_head(Exchange exchange) noexcept:
    cdef FastPath path = exchange.path
    cdef Buffer *buffer = &exchange.flow.body
    cdef ParsedResponse head
    cdef Verdict verdict
    cdef size_t looked_at = 0 if exchange.looks else held(buffer)
    # What broke the connection is left for the slow path to hear.
    cdef bint deaf = exchange.upstream.broken or exchange.upstream.stale
    cdef ssize_t count = FAILED if deaf else receive_response(exchange)
    if count == NOTHING:
        return
    if count == 0 and exchange.looks:
        end_alone(exchange)
        return
    if count <= 0:
        exchange.client.end(FALLBACK)
        return
    verdict = next_head(exchange, looked_at, &head)
    if verdict == HEAD and gives_up(exchange, &head):
        exchange.client.end(FALLBACK)
    elif verdict == HEAD and came_alone(exchange, &head):
        exchange.looks = LOOKS
        path.readiness.again(exchange.client)
    elif verdict == HEAD:
        begin_response(exchange, &head)
    elif verdict == NEED_MORE:
        if exchange.state != WAITING:
            return                      # an interim response met the end of the client
        park(&exchange.flow, path.buffers)
        if exchange.upstream.readable:
            path.readiness.again(exchange.client)
    else:
        exchange.client.end(FALLBACK)


cdef inline Verdict next_head(
    Exchange exchange, size_t looked_at, ParsedResponse *head
) noexcept:
    """Look for the head of the final response; those of interim ones before it are dealt with."""
    cdef Buffer *buffer = &exchange.flow.body
    cdef Verdict verdict = parse_response(
        buffer.data + buffer.start, held(buffer), looked_at, exchange.head.head_only, head)
    while verdict == HEAD and head.status < 200:
        verdict = pass_interim_on(exchange, head)
        if verdict == HEAD:
            exchange.interims += 1
            buffer.start += head.length
            exchange.flow.good = buffer.start
            verdict = parse_response(
                buffer.data + buffer.start, held(buffer), 0, exchange.head.head_only, head)
    return verdict


cdef inline bint gives_up(Exchange exchange, const ParsedResponse *head) noexcept:
    """It may be about the time before the request: see trio_lb.upstream.http1_stream."""
    return head.status == REQUEST_TIMEOUT and head.close and exchange.upstream.reused


cdef inline bint came_alone(Exchange exchange, const ParsedResponse *head) noexcept:
    """There is a body, and nothing of it has come."""
    return (
        held(&exchange.flow.body) == head.length and not exchange.upstream.readable
        and not head.bodiless and head.content_length != 0)


cdef void end_alone(Exchange exchange) noexcept:
    """The server's stream has ended right behind a head that came alone."""
    cdef ParsedResponse head
    next_head(exchange, 0, &head)
    if head.until_close:
        exchange.upstream.ended = exchange.upstream.readable = True
        begin_response(exchange, &head)
    else:
        exchange.client.end(FALLBACK)


cdef inline bint is_over(Exchange exchange) noexcept:
    """The server's stream has ended, and all of it was received."""
    return (
        exchange.upstream.ended and not exchange.upstream.broken and not exchange.flow.more
        and exchange.upstream.channel.ops is NULL)


cdef ssize_t receive_response(Exchange exchange) noexcept:
    cdef ssize_t count = fill(
        &exchange.flow, exchange.path.buffers, &exchange.upstream.channel, LARGE)
    if count == NOTHING:
        exchange.upstream.readable = False
    else:
        exchange.upstream.readable = exchange.flow.more or exchange.upstream.ended
    return count


cdef void begin_response(Exchange exchange, ParsedResponse *head) noexcept:
    cdef FastPath path = exchange.path
    cdef double now = path.readiness.now
    cdef Buffer *out = &exchange.flow.head
    cdef const char *date = NULL
    cdef size_t start = exchange.flow.body.start
    if exchange.head.http10 and head.chunked:
        exchange.client.end(FALLBACK)   # it ends by closing then
        return
    if head.until_close:
        head.chunked = not exchange.head.http10
        begin_until_close(&exchange.flow, AS_CHUNKS if head.chunked else AS_IT_COMES)
        exchange.flow.ended = is_over(exchange)
    else:
        begin_body(
            &exchange.flow.framing, 0 if head.bodiless else head.content_length, head.chunked)
        exchange.flow.framing.trailers = True
    if not head.dated:
        date = path.date_line()
    exchange.last = (
        exchange.head.close or exchange.client.draining or path.patience.keep_alive == 0.0
        or exchange.client.served + 1 >= path.most_requests)
    if path.buffers.borrow(out, SMALL):
        out.end = write_response(
            out.data, out.size, exchange.flow.body.data + start, head, date, exchange.last)
    if not out.end:
        exchange.client.end(FALLBACK)
        return
    commit(&exchange.flow, start + head.length)
    if exchange.flow.framing.state > BODY_END:
        exchange.flow.good = start      # the slow path reads all of it
        exchange.client.end(FALLBACK)
        return
    path.table.record_answer(
        exchange.server.slot, path.table.now_ms(now), (now - exchange.sent) * 1e6, head.status)
    came_after(path.readiness, now - exchange.sent)
    exchange.status = head.status
    exchange.reusable = not head.close
    exchange.flow.by_pipe = (
        may_splice(&exchange.upstream.channel) and may_splice(&exchange.client.channel))
    exchange.client.read_credit.left = exchange.client.read_credit.patience
    exchange.state = RELAYING
    # Where others are under way too, it goes when theirs has been received as well: clients get
    # their answers close together then, and wake up less often.
    if path.readiness.under_way > 1:
        await_more(exchange)
        path.readiness.again(exchange.client)
    else:
        send_on(exchange)


cdef inline void await_more(Exchange exchange) noexcept:
    cdef FastPath path = exchange.path
    exchange.moved = path.readiness.now
    set_deadline(path.readiness, exchange.client, exchange.moved + min(
        PATIENCE, path.patience.body))


cdef void relay(Exchange exchange) noexcept:
    """Send what is there to be sent; if that was all, receive more, and send that."""
    cdef ssize_t count
    if exchange.client.blocked:
        return
    if not waiting(&exchange.flow) and not unsent(&exchange.client.channel):
        if not exchange.upstream.readable:
            return
        count = receive_response(exchange)
        if count == NOTHING:
            return
        if count <= 0 and not ends_regularly(exchange, count):
            exchange.client.end(TRUNCATED, "the server closed the connection during its response")
            return
        if exchange.flow.until_close:
            exchange.flow.ended = count == 0 or is_over(exchange)
        commit(&exchange.flow, exchange.flow.body.start)
    send_on(exchange)


cdef inline bint ends_regularly(Exchange exchange, ssize_t count) noexcept:
    """Nothing more comes: that is the end of the body, unless the connection was reset."""
    return exchange.flow.until_close and count == 0 and not exchange.upstream.broken


cdef void send_on(Exchange exchange) noexcept:
    """Send the client all that may go, and see what comes next."""
    cdef FastPath path = exchange.path
    cdef ClientSide client = exchange.client
    cdef ssize_t left = flush(&exchange.flow, path.buffers, &client.channel)
    if left == FAILED:
        client.end(CLIENT_GONE, "the client closed the connection before its response")
    elif left:
        client.blocked = True
        begin_waiting(&client.read_credit, path.readiness.now, client.channel.fd)
        set_deadline(path.readiness, client, path.readiness.now + client.read_credit.left)
    elif exchange.flow.framing.state == BODY_END:
        complete(exchange)
    elif exchange.flow.framing.state == BODY_MORE:
        await_more(exchange)
        if exchange.upstream.readable:
            path.readiness.again(client)
        else:
            park(&exchange.flow, path.buffers)
    elif exchange.flow.framing.state == BODY_BROKEN:
        client.end(TRUNCATED, "the server closed the connection during its response")
    else:
        client.end(FALLBACK)


cdef void complete(Exchange exchange) noexcept:
    """Everything is sent: count it, and make ready for the next request."""
    cdef FastPath path = exchange.path
    cdef ClientSide client = exchange.client
    cdef Flow *flow = &exchange.flow
    cdef Upstream upstream = exchange.upstream
    cdef bint last
    path.table.record_completion(
        exchange.server.slot, flow.framing.payload, exchange.body_length())
    if exchange.reusable and not upstream.ended and flow.body.end == flow.good and (
            not upstream.readable or silent(&upstream.channel)):
        upstream.readable = False
        exchange.server.keep(upstream)
    else:
        discard(upstream)
    path.table.release_slot(exchange.server.slot)
    path.table.record_request(exchange.status)
    if path.records is not None:
        keep_record(exchange)
    last = exchange.last
    client.input.start += exchange.request_length
    exchange.forget()
    client.served += 1
    if last:
        client.end(SERVED)
    else:
        client.await_request()
