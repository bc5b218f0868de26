"""A stage of plain requests whose body goes on as it comes: C-level interface."""

from libc.stdint cimport uint64_t


# Send the head and what has come of the body; from then on it comes and goes.
cdef void begin_upload(Exchange exchange) noexcept
# Send what is there of the body; if that was all, receive more, and send that.
cdef void pass_body_on(Exchange exchange) noexcept
# It is late; has the server, if it is the one, at least taken some of what waits for it?
cdef bint server_took_some(Exchange exchange) noexcept


cdef inline bint may_be_too_large(Exchange exchange, uint64_t more) noexcept:
    """A chunked body could pass the limit with so many bytes; the slow path counts exactly."""
    cdef uint64_t limit = <uint64_t> exchange.route.limits.body     # -1, for any, is the most
    return exchange.head.chunked and exchange.upload.framing.payload + more > limit
