"""Interim (1xx) responses, which come before the final one; see interim.pxd."""

from trio_lb.fast.http1 cimport (
    FALLBACK as LEFT, HEAD, NEED_MORE, ParsedResponse, Verdict, write_response,
)
from trio_lb.fast.loop cimport (
    Buffer, FAILED, send_both, SHORT_MESSAGE, SMALL, takes_short_message, unsent,
)

cdef enum:
    CONTINUE = 100


cdef Verdict pass_interim_on(Exchange exchange, const ParsedResponse *head) noexcept:
    cdef ClientSide client = exchange.client
    cdef Buffer *out = &exchange.flow.head
    cdef Buffer *body = &exchange.flow.body
    cdef ssize_t count = FAILED
    cdef size_t size
    if exchange.interims >= MOST_INTERIMS:
        return LEFT
    # Nobody has asked for a 100 here, and HTTP/1.0 knows no interim responses.
    if head.status == CONTINUE or exchange.head.http10:
        return HEAD
    # All of it has to leave at once: there is nobody who would send the rest.
    if not takes_short_message(client.channel.fd) or unsent(&client.channel) \
            or not exchange.path.buffers.borrow(out, SMALL):
        return LEFT
    size = write_response(out.data, out.size, body.data + body.start, head, NULL, False)
    if 0 < size <= SHORT_MESSAGE:
        count = send_both(&client.channel, out.data, size, NULL, 0)
    exchange.path.buffers.give_back(out)
    if count == <ssize_t> size:
        return HEAD
    if count <= 0:
        return LEFT                # what is wrong with the client, the slow path meets as well
    client.end(CLIENT_SLOW, "the client was too slow to read the response")
    return NEED_MORE
