"""A stage of plain requests with a large body, which goes on as it comes: C-level interface."""

from trio_lb._exchange cimport PlainExchange


# Send the head and what has come of the body; from then on it comes and goes.
cdef void begin_upload(PlainExchange exchange) noexcept
# Send what is there of the body; if that was all, receive more, and send that.
cdef void pass_body_on(PlainExchange exchange) noexcept
