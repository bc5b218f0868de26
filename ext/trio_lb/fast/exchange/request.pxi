"""The first stage of a plain request: it comes; see request.pxd."""

from libc.stdint cimport uint64_t

from trio_lb.fast.http1 cimport (
    begin_body, Body, BODY_END, BODY_MORE, feed_body, fits_route, HEAD, NEED_MORE, parse_request,
    Verdict,
)
from trio_lb.fast.loop cimport Buffer, held, NEVER, NOTHING, receive, set_deadline, TICK


cdef void read_request(ClientSide client) noexcept:
    cdef Buffer *input = &client.input
    cdef size_t room
    cdef ssize_t count
    cdef bint more
    if not client.path.buffers.reserve(input, held(input) + 1):
        client.end(FALLBACK)            # a larger head than a buffer
        return
    room = input.size - input.end
    count = receive(&client.channel, input, room, &more)
    client.readable = more or client.hung_up and count > 0
    if count > 0:
        parse(client)
    elif count == NOTHING:
        if not held(input):
            client.path.buffers.give_back(input)
    elif count == 0 and held(input) or client.exchange.state == COLLECTING:
        client.end(FALLBACK)
    else:
        client.end(CLOSED_IDLE)


cdef void parse(ClientSide client) noexcept:
    cdef FastPath path = client.path
    cdef Exchange exchange
    cdef Buffer *input = &client.input
    cdef Verdict verdict
    if client.exchange.client is None and not path.lend(client):
        client.end(INTERNAL_ERROR)
        return
    exchange = client.exchange
    if exchange.state == COLLECTING:
        collect(exchange)
        return
    verdict = parse_request(
        input.data + input.start, held(input), exchange.seen, &path.limits, &exchange.head)
    if verdict == NEED_MORE and is_empty_line(input):
        # Nothing of a request has come yet, and no time of one begins.
        exchange.began = NEVER
        client.end(FALLBACK)
        return
    if exchange.began == NEVER:
        exchange.began = path.readiness.now
        if verdict == NEED_MORE:
            set_deadline(
                path.readiness, client, exchange.began + path.patience.head - TICK)
    if verdict == NEED_MORE:
        exchange.seen = held(input)
        if client.readable:
            path.readiness.again(client)
    elif verdict == HEAD:
        find_route(exchange)
        begin_request(exchange)
    else:
        client.end(FALLBACK)


cdef inline bint is_empty_line(const Buffer *buffer) noexcept:
    """All that is there is the one that may precede a request (RFC 9112 section 2.2)."""
    return (
        held(buffer) == 2 and buffer.data[buffer.start] == c"\r"
        and buffer.data[buffer.start + 1] == c"\n")


cdef void begin_request(Exchange exchange) noexcept:
    """The head is there, and the route is known."""
    cdef Buffer *input = &exchange.client.input
    if not fits_route(input.data + input.start, &exchange.head, &exchange.route.limits):
        exchange.client.end(FALLBACK)
        return
    exchange.started = exchange.path.readiness.now
    exchange.origin = exchange.client.origin
    if exchange.head.claims and exchange.origin.heed is not None and not heed_claims(exchange):
        exchange.client.end(FALLBACK)
        return
    if exchange.head.chunked:
        begin_chunks(exchange)
    else:
        begin_length(exchange)


cdef void begin_chunks(Exchange exchange) noexcept:
    """A chunked body goes on as it comes; one that has come whole goes with its head."""
    cdef Buffer *input = &exchange.client.input
    cdef Body *framing = &exchange.upload.framing
    cdef size_t good, length = held(input) - exchange.head.length
    begin_body(framing, -1, True)
    if may_be_too_large(exchange, length):
        exchange.client.end(FALLBACK)
        return
    feed_body(framing, input.data + input.start + exchange.head.length, length, &good)
    if framing.state > BODY_END:
        exchange.client.end(FALLBACK)   # before a server was picked
        return
    exchange.request_length = exchange.head.length + good
    exchange.uploading = framing.state == BODY_MORE
    pick(exchange)


cdef void begin_length(Exchange exchange) noexcept:
    """A small body, or none, is collected; a large one goes on as it comes."""
    cdef uint64_t length = <uint64_t> max(exchange.head.content_length, 0)
    exchange.request_length = exchange.head.length + length
    if length <= exchange.route.replay_body \
            or held(&exchange.client.input) >= exchange.request_length:
        collect(exchange)
    else:
        exchange.uploading = True
        pick(exchange)


cdef void collect(Exchange exchange) noexcept:
    """Have all of a small body before a server is picked; see trio_lb.proxy.connection."""
    cdef FastPath path = exchange.path
    cdef ClientSide client = exchange.client
    if held(&client.input) >= exchange.request_length:
        pick(exchange)
    elif not path.buffers.reserve(&client.input, exchange.request_length):
        client.end(FALLBACK)
    elif exchange.state == READING:
        exchange.state = COLLECTING
        set_deadline(path.readiness, client, path.readiness.now + min(
            PATIENCE, path.patience.body))
        if client.readable:
            path.readiness.again(client)
    elif client.readable:
        path.readiness.again(client)
