"""The second stage of a plain request: it goes to a server; see forward.pxd."""

from libc.errno cimport EAGAIN, EINPROGRESS
from libc.stdint cimport int32_t

from trio_lb.fast.http1 cimport RequestAdditions, write_request
from trio_lb.fast.loop cimport (
    attend, Buffer, discard, known_to_be_silent, log_fault, send_both, Server, set_deadline, silent,
    SMALL, socket_error,
)
from trio_lb.fast.table cimport NOBODY

#: A request that can't be sent twice only travels on a connection that was used within this time;
#: see trio_lb.proxy.forward. Seconds.
cdef double FRESH_ENOUGH = 0.5


cdef void pick(Exchange exchange) noexcept:
    cdef FastPath path = exchange.path
    cdef double now = path.readiness.now, oldest = path.patience.idle
    cdef int32_t slot = path.selection.pick_slot(path.table.now_ms(now))
    if slot == NOBODY:
        exchange.end(FALLBACK)
        return
    exchange.server = <Server> path.servers[path.index_at[slot]]
    if not write_head(exchange):
        exchange.end(FALLBACK)
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


cdef bint write_head(Exchange exchange) noexcept:
    cdef FastPath path = exchange.path
    cdef Buffer *out = &exchange.flow.head
    cdef RequestAdditions additions
    if exchange.head.request_id.length:
        exchange.own_id_length = 0
    else:
        exchange.own_id_length = path.make_id(exchange.own_id)
    additions.prefix.data = exchange.server.prefix_data
    additions.prefix.length = exchange.server.prefix_length
    additions.request_id.data = exchange.own_id
    additions.request_id.length = exchange.own_id_length
    additions.pieces = exchange.lines.pieces
    additions.piece_count = exchange.lines.count
    if not path.buffers.borrow(out, SMALL):
        return False
    out.end = write_request(
        out.data, out.size, exchange.request.data + exchange.request.start, &exchange.head,
        &additions)
    return out.end > 0


cdef void connect(Exchange exchange) noexcept:
    try:
        dial(exchange)
    except BaseException:       # whatever it is, there is nobody to raise it to
        log_fault("connecting to a server")
        exchange.end(INTERNAL_ERROR)


cdef int dial(Exchange exchange) except -1:
    cdef FastPath path = exchange.path
    try:
        begun = exchange.server.dial()
    except OSError as exc:
        exchange.connect_error = exc.errno
        exchange.end(FALLBACK)
        return 0
    if begun is None:
        exchange.end(FALLBACK)
        return 0
    transport, code = begun
    try:
        if code == 0 or code == EINPROGRESS:
            exchange.upstream = attend(path.readiness, exchange.server, transport)
    except OSError as exc:
        code = exc.errno
    except BaseException:
        transport.close()
        raise
    if exchange.upstream is None:
        transport.close()
        # The queue of a unix socket that is full: the slow path waits for it.
        exchange.connect_error = 0 if code == EAGAIN else code
        exchange.end(FALLBACK)
        return 0
    exchange.upstream.user = exchange
    if code:
        exchange.state = CONNECTING
        set_deadline(path.readiness, exchange, path.readiness.now + min(
            path.patience.connect, exchange.server.head_start))
    else:
        send_request(exchange)
    return 0


cdef void finish_connecting(Exchange exchange) noexcept:
    if not (exchange.upstream.writable or exchange.upstream.ended):
        return
    exchange.connect_error = socket_error(exchange.upstream.fd)
    if exchange.connect_error:
        discard(exchange.upstream)
        exchange.upstream = None
        exchange.end(FALLBACK)
    else:
        send_request(exchange)


cdef void send_request(Exchange exchange) noexcept:
    cdef FastPath path = exchange.path
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
        exchange.end(FALLBACK)
        return
    path.buffers.give_back(&exchange.flow.head)
    await_response(exchange)
