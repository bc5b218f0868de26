"""The first stage of a plain request: it comes; see request.pxd."""

from libc.stdint cimport uint64_t

from trio_lb.fast.http1 cimport (
    begin_body, Body, BODY_END, BODY_MORE, feed_body, HEAD, NEED_MORE, parse_request, Verdict,
)
from trio_lb.fast.loop cimport Buffer, held, NEVER, NOTHING, receive, set_deadline, TICK


cdef void read_request(Exchange exchange) noexcept:
    cdef Buffer *buffer = &exchange.request
    cdef size_t room
    cdef ssize_t count
    if not exchange.path.buffers.reserve(buffer, held(buffer) + 1):
        exchange.end(FALLBACK)             # a larger head than a buffer
        return
    room = buffer.size - buffer.end
    count = receive(exchange.fd, buffer, room)
    exchange.readable = count == <ssize_t> room or exchange.hung_up and count > 0
    if count > 0:
        parse(exchange)
    elif count == NOTHING:
        if not held(buffer):
            exchange.path.buffers.give_back(buffer)
    elif count == 0 and held(buffer) or exchange.state == COLLECTING:
        exchange.end(FALLBACK)
    else:
        exchange.end(CLOSED_IDLE)


cdef void parse(Exchange exchange) noexcept:
    cdef FastPath path = exchange.path
    cdef Buffer *buffer = &exchange.request
    cdef Verdict verdict
    cdef uint64_t length
    if exchange.state == COLLECTING:
        collect(exchange)
        return
    verdict = parse_request(
        buffer.data + buffer.start, held(buffer), exchange.seen, exchange.limits, &exchange.head)
    if verdict == NEED_MORE and is_empty_line(buffer):
        # Nothing of a request has come yet, and no time of one begins.
        exchange.began = NEVER
        exchange.end(FALLBACK)
        return
    if exchange.began == NEVER:
        exchange.began = path.readiness.now
        if verdict == NEED_MORE:
            set_deadline(
                path.readiness, exchange, exchange.began + path.patience.client_head - TICK)
    if verdict == NEED_MORE:
        exchange.seen = held(buffer)
        if exchange.readable:
            path.readiness.again(exchange)
    elif verdict == HEAD and exchange.head.chunked:
        exchange.started = path.readiness.now
        begin_chunks(exchange)
    elif verdict == HEAD:
        exchange.started = path.readiness.now
        length = <uint64_t> max(exchange.head.content_length, 0)
        exchange.request_length = exchange.head.length + length
        if length <= path.replay_body \
                or held(buffer) >= exchange.request_length:
            collect(exchange)
        else:
            exchange.uploading = True
            pick(exchange)
    else:
        exchange.end(FALLBACK)


cdef inline bint is_empty_line(const Buffer *buffer) noexcept:
    """All that is there is the one that may precede a request (RFC 9112 section 2.2)."""
    return (
        held(buffer) == 2 and buffer.data[buffer.start] == c"\r"
        and buffer.data[buffer.start + 1] == c"\n")


cdef void begin_chunks(Exchange exchange) noexcept:
    """A chunked body goes on as it comes; one that has come whole goes with its head."""
    cdef Buffer *buffer = &exchange.request
    cdef Body *framing = &exchange.upload.framing
    cdef size_t good, length = held(buffer) - exchange.head.length
    begin_body(framing, -1, True)
    if may_be_too_large(exchange, length):
        exchange.end(FALLBACK)
        return
    feed_body(framing, buffer.data + buffer.start + exchange.head.length, length, &good)
    if framing.state > BODY_END:
        exchange.end(FALLBACK)             # before a server was picked
        return
    exchange.request_length = exchange.head.length + good
    exchange.uploading = framing.state == BODY_MORE
    pick(exchange)


cdef void collect(Exchange exchange) noexcept:
    """Have all of a small body before a server is picked; see trio_lb.proxy.connection."""
    cdef FastPath path = exchange.path
    if held(&exchange.request) >= exchange.request_length:
        pick(exchange)
    elif not path.buffers.reserve(&exchange.request, exchange.request_length):
        exchange.end(FALLBACK)
    elif exchange.state == READING:
        exchange.state = COLLECTING
        set_deadline(path.readiness, exchange, path.readiness.now + min(
            PATIENCE, path.patience.body))
        if exchange.readable:
            path.readiness.again(exchange)
    elif exchange.readable:
        path.readiness.again(exchange)
