"""The first stage of a plain request: it comes: C-level interface."""

from trio_lb._exchange cimport PlainExchange


# Receive some of it; when all that is needed is there, a server is picked.
cdef void read_request(PlainExchange exchange) noexcept
# Look at what is in the buffer.
cdef void parse(PlainExchange exchange) noexcept
