"""The first stage of a plain request: it comes; see _request.pxd."""

from libc.stdint cimport uint64_t

from trio_lb._buffers cimport Buffer, held
from trio_lb._exchange cimport COLLECTING, PATIENCE, PlainExchange, READING
from trio_lb._forward cimport pick
from trio_lb._framing cimport begin_body, Body, BODY_END, BODY_MORE, feed_body
from trio_lb._parser cimport HEAD, NEED_MORE, parse_request, Verdict
from trio_lb._readiness cimport expect, NEVER, READABLE, set_deadline, TICK
from trio_lb._road cimport PlainRoad
from trio_lb._sockets cimport NOTHING, receive
from trio_lb._upload cimport may_be_too_large


cdef void read_request(PlainExchange exchange) noexcept:
    cdef Buffer *buffer = &exchange.request
    cdef size_t room
    cdef ssize_t count
    if not exchange.road.buffers.reserve(buffer, held(buffer) + 1):
        exchange.end("odd")             # a larger head than a buffer
        return
    room = buffer.size - buffer.end
    count = receive(exchange.fd, buffer, room)
    exchange.readable = count == <ssize_t> room or exchange.hung_up and count > 0
    if not exchange.readable:
        expect(exchange.road.readiness, exchange, READABLE)
    if count > 0:
        parse(exchange)
    elif count == NOTHING:
        if not held(buffer):
            exchange.road.buffers.give_back(buffer)
    elif count == 0 and held(buffer) or exchange.state == COLLECTING:
        exchange.end("odd")
    else:
        exchange.end("left")


cdef void parse(PlainExchange exchange) noexcept:
    cdef PlainRoad road = exchange.road
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
        exchange.end("odd")
        return
    if exchange.began == NEVER:
        exchange.began = road.readiness.now
        if verdict == NEED_MORE:
            set_deadline(
                road.readiness, exchange, exchange.began + road.patience.client_head - TICK)
    if verdict == NEED_MORE:
        exchange.seen = held(buffer)
        if exchange.readable:
            road.readiness.again(exchange)
    elif verdict == HEAD and exchange.head.chunked:
        exchange.started = road.readiness.now
        begin_chunks(exchange)
    elif verdict == HEAD:
        exchange.started = road.readiness.now
        length = <uint64_t> max(exchange.head.content_length, 0)
        exchange.request_length = exchange.head.length + length
        if length <= road.replay_body \
                or held(buffer) >= exchange.request_length:
            collect(exchange)
        else:
            exchange.uploading = True
            pick(exchange)
    else:
        exchange.end("odd")


cdef inline bint is_empty_line(const Buffer *buffer) noexcept:
    """All that is there is the one that may precede a request (RFC 9112 section 2.2)."""
    return (
        held(buffer) == 2 and buffer.data[buffer.start] == c"\r"
        and buffer.data[buffer.start + 1] == c"\n")


cdef void begin_chunks(PlainExchange exchange) noexcept:
    """A chunked body goes on as it comes; one that has come whole goes with its head."""
    cdef Buffer *buffer = &exchange.request
    cdef Body *framing = &exchange.upload.framing
    cdef size_t good, length = held(buffer) - exchange.head.length
    begin_body(framing, -1, True)
    if may_be_too_large(exchange, length):
        exchange.end("odd")
        return
    feed_body(framing, buffer.data + buffer.start + exchange.head.length, length, &good)
    if framing.state > BODY_END:
        exchange.end("odd")             # before a server was picked
        return
    exchange.request_length = exchange.head.length + good
    exchange.uploading = framing.state == BODY_MORE
    pick(exchange)


cdef void collect(PlainExchange exchange) noexcept:
    """Have all of a small body before a server is picked; see trio_lb.proxy.connection."""
    cdef PlainRoad road = exchange.road
    if held(&exchange.request) >= exchange.request_length:
        pick(exchange)
    elif not road.buffers.reserve(&exchange.request, exchange.request_length):
        exchange.end("odd")
    elif exchange.state == READING:
        exchange.state = COLLECTING
        set_deadline(road.readiness, exchange, road.readiness.now + min(
            PATIENCE, road.patience.body))
        if exchange.readable:
            road.readiness.again(exchange)
    elif exchange.readable:
        road.readiness.again(exchange)
