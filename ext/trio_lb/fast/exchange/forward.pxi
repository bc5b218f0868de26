"""The second stage of a plain request: it goes to a server; see forward.pxd."""

from libc.errno cimport EAGAIN, EINPROGRESS
from libc.stdint cimport int32_t

from trio_lb.fast.http1 cimport add_client_lines, RequestAdditions, write_request
from trio_lb.fast.loop cimport (
    attend, Buffer, discard, known_to_be_silent, log_fault, send_both, Server, set_deadline,
    silent, SMALL, socket_error, unsent,
)
from trio_lb.fast.table cimport NOBODY

#: A request that can't be sent twice only travels on a connection that was used within this time;
#: see trio_lb.proxy.forward. Seconds.
cdef double FRESH_ENOUGH = 0.5


cdef void pick(Exchange exchange) noexcept:
    cdef FastPath path = exchange.path
    cdef double now = path.readiness.now, oldest = exchange.route.idle_timeout
    cdef int32_t slot = exchange.route.selection.pick_slot(path.table.now_ms(now))
    if slot == NOBODY:
        exchange.client.end(HandoverReason.NO_SERVER)
        return
    exchange.server = <Server> exchange.route.servers[exchange.route.index_at[slot]]
    if not write_head(exchange):
        exchange.client.end(FALLBACK)
        return
    cdef bint once = not exchange.head.idempotent or exchange.uploading
    if once:
        oldest = min(oldest, FRESH_ENOUGH)
    while True:
        exchange.upstream = exchange.server.take(now - oldest)
        if exchange.upstream is None:
            connect(exchange)
            return
        if not once and known_to_be_silent(exchange.upstream) or silent(&exchange.upstream.channel):
            break
        discard(exchange.upstream)
    exchange.upstream.user = exchange.client
    send_request(exchange)


cdef bint write_head(Exchange exchange) noexcept:
    cdef FastPath path = exchange.path
    cdef Buffer *out = &exchange.flow.head
    cdef Buffer *input = &exchange.client.input
    cdef RequestAdditions additions
    if exchange.head.request_id.length:
        exchange.own_id_length = 0
    else:
        exchange.own_id_length = path.make_id(exchange.own_id)
    additions.prefix.data = exchange.server.prefix_data
    additions.prefix.length = exchange.server.prefix_length
    additions.request_id.data = exchange.own_id
    additions.request_id.length = exchange.own_id_length
    add_client_lines(
        &additions, exchange.origin.lines, input.data + input.start, &exchange.head)
    if not path.buffers.borrow(out, SMALL):
        return False
    out.end = write_request(
        out.data, out.size, input.data + input.start, &exchange.head, &additions)
    return out.end > 0


cdef void connect(Exchange exchange) noexcept:
    try:
        dial(exchange)
    except BaseException:       # whatever it is, there is nobody to raise it to
        log_fault("connecting to a server")
        exchange.client.end(INTERNAL_ERROR)


cdef int dial(Exchange exchange) except -1:
    cdef FastPath path = exchange.path
    try:
        begun = exchange.server.dial()
    except OSError as exc:
        exchange.connect_error = exc.errno
        exchange.client.end(FALLBACK)
        return 0
    if begun is None:
        exchange.client.end(FALLBACK)
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
        exchange.client.end(FALLBACK)
        return 0
    exchange.upstream.user = exchange.client
    if code:
        exchange.state = CONNECTING
        set_deadline(path.readiness, exchange.client, path.readiness.now + min(
            exchange.route.connect_timeout, exchange.server.head_start))
    else:
        send_request(exchange)
    return 0


cdef void finish_connecting(Exchange exchange) noexcept:
    if not (exchange.upstream.writable or exchange.upstream.ended):
        return
    exchange.connect_error = socket_error(exchange.upstream.channel.fd)
    if exchange.connect_error:
        discard(exchange.upstream)
        exchange.upstream = None
        exchange.client.end(FALLBACK)
    else:
        send_request(exchange)


cdef void give_up_connecting(Exchange exchange) noexcept:
    if exchange.server.head_start < exchange.route.connect_timeout:
        exchange.connect_error = EINPROGRESS    # and the slow path waits for it
    else:
        exchange.connect_error = -1
        discard(exchange.upstream)
        exchange.upstream = None
    exchange.client.end(FALLBACK)


cdef void send_request(Exchange exchange) noexcept:
    cdef Buffer *head = &exchange.flow.head
    cdef Buffer *input = &exchange.client.input
    cdef size_t body = exchange.request_length - exchange.head.length
    cdef ssize_t count
    if exchange.uploading:
        begin_upload(exchange)
        return
    count = send_both(
        &exchange.upstream.channel, head.data, head.end,
        input.data + input.start + exchange.head.length, body)
    if count != <ssize_t> (head.end + body) or unsent(&exchange.upstream.channel):
        head.start = max(count, 0)
        exchange.client.end(FALLBACK)
        return
    exchange.path.buffers.give_back(head)
    await_response(exchange)
