"""The second stage of a plain request: it goes to a server; see _forward.pxd."""

from libc.errno cimport EAGAIN, EINPROGRESS
from libc.stdint cimport int32_t

from trio_lb._buffers cimport Buffer, SMALL
from trio_lb._exchange cimport CONNECTING, PlainExchange
from trio_lb._readiness cimport expect, set_deadline, WRITABLE
from trio_lb._response cimport await_response
from trio_lb._road cimport PlainRoad
from trio_lb._select cimport NOBODY
from trio_lb._sockets cimport send_both, silent, socket_error
from trio_lb._upload cimport begin_upload
from trio_lb._upstreams cimport attend, discard, known_to_be_silent, log_fault, Server
from trio_lb._writer cimport RequestAdditions, write_request

#: A request that can't be sent twice only travels on a connection that was used within this time;
#: see trio_lb.proxy.forward. Seconds.
cdef double FRESH_ENOUGH = 0.5


cdef void pick(PlainExchange exchange) noexcept:
    cdef PlainRoad road = exchange.road
    cdef double now = road.readiness.now, oldest = road.patience.idle
    cdef int32_t slot = road.selection.pick_slot(road.table.now_ms(now))
    if slot == NOBODY:
        exchange.end("odd")
        return
    exchange.server = <Server> road.servers[road.places[slot]]
    if not write_head(exchange):
        exchange.end("odd")
        return
    cdef bint once = not exchange.head.idempotent or exchange.uploading
    if once:
        oldest = min(oldest, FRESH_ENOUGH)
    while True:
        exchange.upstream = exchange.server.take(now - oldest)
        if exchange.upstream is None:
            connect(exchange)
            return
        if not once and known_to_be_silent(exchange.upstream) or silent(exchange.upstream.fd):
            break
        discard(exchange.upstream)
    exchange.upstream.user = exchange
    send_request(exchange)


cdef bint write_head(PlainExchange exchange) noexcept:
    cdef PlainRoad road = exchange.road
    cdef Buffer *out = &exchange.flow.head
    cdef RequestAdditions additions
    if exchange.head.request_id.length:
        exchange.own_id_length = 0
    else:
        exchange.own_id_length = road.make_id(exchange.own_id)
    additions.prefix.data = exchange.server.prefix_data
    additions.prefix.length = exchange.server.prefix_length
    additions.request_id.data = exchange.own_id
    additions.request_id.length = exchange.own_id_length
    additions.pieces = exchange.lines.pieces
    additions.piece_count = exchange.lines.count
    if not road.buffers.borrow(out, SMALL):
        return False
    out.end = write_request(
        out.data, out.size, exchange.request.data + exchange.request.start, &exchange.head,
        &additions)
    return out.end > 0


cdef void connect(PlainExchange exchange) noexcept:
    try:
        dial(exchange)
    except BaseException:       # whatever it is, there is nobody to raise it to
        log_fault("connecting to a server")
        exchange.end("failed")


cdef int dial(PlainExchange exchange) except -1:
    cdef PlainRoad road = exchange.road
    if exchange.server.dial is None:
        exchange.end("odd")
        return 0
    try:
        transport, code = exchange.server.dial()
    except OSError as exc:
        exchange.connect_error = exc.errno
        exchange.end("odd")
        return 0
    try:
        if code == 0 or code == EINPROGRESS:
            exchange.upstream = attend(road.readiness, exchange.server, transport)
    except OSError as exc:
        code = exc.errno
    except BaseException:
        transport.close()
        raise
    if exchange.upstream is None:
        transport.close()
        # The queue of a unix socket that is full: the general road waits for it.
        exchange.connect_error = 0 if code == EAGAIN else code
        exchange.end("odd")
        return 0
    exchange.upstream.user = exchange
    if code:
        exchange.state = CONNECTING
        expect(road.readiness, exchange.upstream, WRITABLE)
        set_deadline(road.readiness, exchange, road.readiness.now + road.patience.connect)
    else:
        send_request(exchange)
    return 0


cdef void finish_connecting(PlainExchange exchange) noexcept:
    if not (exchange.upstream.writable or exchange.upstream.ended):
        return
    exchange.connect_error = socket_error(exchange.upstream.fd)
    if exchange.connect_error:
        discard(exchange.upstream)
        exchange.upstream = None
        exchange.end("odd")
    else:
        send_request(exchange)


cdef void send_request(PlainExchange exchange) noexcept:
    cdef PlainRoad road = exchange.road
    cdef ssize_t count
    if exchange.uploading:
        begin_upload(exchange)
        return
    count = send_both(
        exchange.upstream.fd, exchange.flow.head.data, exchange.flow.head.end,
        exchange.request.data + exchange.request.start + exchange.head.length,
        exchange.request_length - exchange.head.length)
    if count != <ssize_t> (exchange.flow.head.end + exchange.request_length - exchange.head.length):
        exchange.flow.head.start = max(count, 0)
        exchange.end("odd")
        return
    road.buffers.give_back(&exchange.flow.head)
    await_response(exchange)
