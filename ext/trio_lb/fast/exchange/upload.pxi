"""A stage of plain requests whose body goes on as it comes, large or chunked; see upload.pxd."""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from trio_lb.fast.http1 cimport begin_body, Body, BODY_END, BODY_MORE
from trio_lb.fast.loop cimport (
    Buffer, FAILED, held, in_queue, LARGE, NOTHING, set_deadline, TICK, unsent,
)

cdef enum:
    ROOM_BEHIND = 4096          # bytes: for what comes behind a body whose end isn't known


cdef void begin_upload(Exchange exchange) noexcept:
    """Send the head and what has come of the body; from then on it comes and goes."""
    cdef FastPath path = exchange.path
    cdef ClientSide client = exchange.client
    cdef Buffer *input = &client.input
    cdef Flow *upload = &exchange.upload
    cdef size_t here = held(input) - exchange.head.length
    exchange.state = UPLOADING
    upload.head = exchange.flow.head
    exchange.flow.head.data = NULL
    exchange.flow.head.start = exchange.flow.head.end = 0
    exchange.request_length = exchange.head.length
    begin_body(&upload.framing, exchange.head.content_length, exchange.head.chunked)
    client.send_credit.left = client.send_credit.patience
    client.send_credit.since = path.readiness.now
    set_deadline(path.readiness, client, path.readiness.now + client.send_credit.left - TICK)
    if not path.buffers.borrow(&upload.body, here):
        client.end(FALLBACK)
        return
    input.end = input.start + exchange.head.length
    memcpy(upload.body.data, input.data + input.end, here)
    upload.body.end = here
    if exchange.head.chunked and not path.buffers.reserve(
            input, exchange.head.length + ROOM_BEHIND):
        client.end(FALLBACK)
        return
    # What can't be sent twice goes to no other server, whatever is known of it.
    exchange.keeping = exchange.head.chunked and exchange.head.idempotent
    look_at(exchange, 0)
    send_body_on(exchange)


cdef void pass_body_on(Exchange exchange) noexcept:
    """Send what is there of the body; if that was all, receive more, and send that."""
    cdef FastPath path = exchange.path
    cdef ClientSide client = exchange.client
    cdef Flow *upload = &exchange.upload
    cdef ssize_t count
    if exchange.upstream.readable or exchange.upstream.ended:
        client.end(FALLBACK)             # an answer before its time
        return
    if exchange.choked:
        if not exchange.upstream.writable:
            return
        exchange.choked = False
        client.send_credit.since = path.readiness.now
    if not waiting(upload) and not unsent(&exchange.upstream.channel):
        if not client.readable:
            return
        count = fill(upload, path.buffers, &client.channel, most_to_fill(exchange))
        client.readable = upload.more or client.hung_up and count > 0
        if count == NOTHING:
            return
        if count <= 0 or may_be_too_large(exchange, held(&upload.body)):
            client.end(FALLBACK)
            return
        earn(&client.send_credit, path.readiness.now, count)
        look_at(exchange, upload.body.start)
    send_body_on(exchange)


cdef bint server_took_some(Exchange exchange) noexcept:
    """Of what waits for it, though there is no room for more yet; then it has more time."""
    cdef FastPath path = exchange.path
    if not exchange.choked or in_queue(exchange.upstream.channel.fd) >= exchange.choke.queue:
        return False
    begin_waiting(&exchange.choke, path.readiness.now, exchange.upstream.channel.fd)
    set_deadline(path.readiness, exchange.client, path.readiness.now + path.patience.body - TICK)
    return True


cdef uint64_t most_to_fill(Exchange exchange) noexcept:
    """Nothing that is behind the body, unless the input's buffer has room for it."""
    cdef Body *framing = &exchange.upload.framing
    cdef Buffer *input = &exchange.client.input
    if not framing.chunked:
        return framing.remaining
    return min(framing.remaining, <uint64_t> LARGE) + input.size - input.end


cdef void look_at(Exchange exchange, size_t start) noexcept:
    """Let go on what is good of the body; what is behind its end is the next request."""
    cdef Buffer *body = &exchange.upload.body
    cdef Buffer *input = &exchange.client.input
    cdef size_t behind
    commit(&exchange.upload, start)
    if exchange.keeping:
        keep(exchange, start)
    if exchange.upload.framing.state == BODY_END:
        behind = body.end - exchange.upload.good
        memcpy(input.data + input.end, body.data + exchange.upload.good, behind)
        input.end += behind
        body.end = exchange.upload.good


cdef void keep(Exchange exchange, size_t start) noexcept:
    """Remember what goes on from `start`, as long as it is little; see trio_lb.proxy.body."""
    cdef Buffer *kept = &exchange.kept
    cdef Flow *upload = &exchange.upload
    cdef size_t size = upload.good - start
    if upload.framing.payload > exchange.route.replay_body \
            or not exchange.path.buffers.reserve(kept, held(kept) + size):
        exchange.forget_kept()
        return
    memcpy(kept.data + kept.end, upload.body.data + start, size)
    kept.end += size


cdef void send_body_on(Exchange exchange) noexcept:
    """Send the server all that may go, and see what comes next."""
    cdef FastPath path = exchange.path
    cdef ClientSide client = exchange.client
    cdef Flow *upload = &exchange.upload
    cdef double now = path.readiness.now
    cdef ssize_t left = flush(upload, path.buffers, &exchange.upstream.channel)
    if left == FAILED:
        client.end(FALLBACK)
    elif left:
        exchange.choked = True
        begin_waiting(&exchange.choke, now, exchange.upstream.channel.fd)
        exchange.upstream.writable = False
        set_deadline(path.readiness, client, now + path.patience.body - TICK)
    elif upload.framing.state == BODY_END:
        release(upload, path.buffers)
        await_response(exchange)
    elif upload.framing.state != BODY_MORE:
        client.end(FALLBACK)
    else:
        set_deadline(path.readiness, client, now + client.send_credit.left - TICK)
        if client.readable:
            path.readiness.again(client)
        else:
            park(upload, path.buffers)
