"""The last stage of a plain request: its response: C-level interface."""


# The request is sent.
cdef void await_response(Exchange exchange) noexcept
# Receive some of the head; when it is there, the client gets it.
cdef void read_response(Exchange exchange) noexcept
# Send what is there to be sent; if that was all, receive more, and send that.
cdef void relay(Exchange exchange) noexcept
