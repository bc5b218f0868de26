"""A stage of plain requests with a large body, which goes on as it comes; see _upload.pxd."""

from libc.string cimport memcpy

from trio_lb._buffers cimport Buffer, held
from trio_lb._exchange cimport PlainExchange, UPLOADING
from trio_lb._flow cimport draw, dry, Flow, follow, pour, rest, waiting
from trio_lb._framing cimport begin_body, BODY_END
from trio_lb._pace cimport earn
from trio_lb._readiness cimport expect, READABLE, set_deadline, TICK, WRITABLE
from trio_lb._response cimport await_response
from trio_lb._road cimport PlainRoad
from trio_lb._sockets cimport FAILED, NOTHING


cdef void begin_upload(PlainExchange exchange) noexcept:
    """Send the head and what has come of the body; from then on it comes and goes."""
    cdef PlainRoad road = exchange.road
    cdef Buffer *request = &exchange.request
    cdef Flow *upload = &exchange.upload
    cdef size_t here = held(request) - exchange.head.length
    if not road.buffers.borrow(&upload.body, here):
        exchange.end("odd")
        return
    exchange.state = UPLOADING
    upload.head = exchange.flow.head
    exchange.flow.head.data = NULL
    exchange.flow.head.start = exchange.flow.head.end = 0
    request.end = request.start + exchange.head.length
    exchange.request_length = exchange.head.length
    memcpy(upload.body.data, request.data + request.end, here)
    upload.body.end = here
    begin_body(&upload.framing, exchange.head.content_length, False)
    follow(upload, 0)
    exchange.pace_of_body.left = exchange.pace_of_body.patience
    exchange.pace_of_body.since = road.readiness.now
    send_body_on(exchange)


cdef void pass_body_on(PlainExchange exchange) noexcept:
    """Send what is there of a large body; if that was all, receive more, and send that."""
    cdef PlainRoad road = exchange.road
    cdef Flow *upload = &exchange.upload
    cdef ssize_t count
    if exchange.upstream.readable or exchange.upstream.ended:
        exchange.end("odd")             # an answer before its time
        return
    if exchange.choked:
        if not exchange.upstream.writable:
            return
        exchange.choked = False
        exchange.pace_of_body.since = road.readiness.now
    if not waiting(upload):
        if not exchange.readable:
            return
        count = draw(upload, road.buffers, exchange.fd, upload.framing.remaining)
        exchange.readable = upload.flooding or exchange.hung_up and count > 0
        if not exchange.readable:
            expect(road.readiness, exchange, READABLE)
        if count == NOTHING:
            return
        if count <= 0:
            exchange.end("odd")
            return
        earn(&exchange.pace_of_body, road.readiness.now, count)
        follow(upload, upload.body.start)
    send_body_on(exchange)


cdef void send_body_on(PlainExchange exchange) noexcept:
    """Send the server all that may go, and see what comes next."""
    cdef PlainRoad road = exchange.road
    cdef Flow *upload = &exchange.upload
    cdef double now = road.readiness.now
    cdef ssize_t left = pour(upload, road.buffers, exchange.upstream.fd)
    if left == FAILED:
        exchange.end("odd")
    elif left:
        exchange.choked = True
        exchange.upstream.writable = False
        expect(road.readiness, exchange.upstream, WRITABLE)
        set_deadline(road.readiness, exchange, now + road.patience.body - TICK)
    elif upload.framing.state == BODY_END:
        dry(upload, road.buffers)
        await_response(exchange)
    else:
        set_deadline(road.readiness, exchange, now + exchange.pace_of_body.left - TICK)
        if exchange.readable:
            road.readiness.again(exchange)
        else:
            rest(upload, road.buffers)
