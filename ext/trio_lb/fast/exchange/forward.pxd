"""The second stage of a plain request: it goes to a server: C-level interface."""


# Choose a server, take a connection to it or make one, and send the request.
cdef void pick(Exchange exchange) noexcept
# Something has happened on a connection that was begun.
cdef void finish_connecting(Exchange exchange) noexcept
# Nothing has, for too long.
cdef void give_up_connecting(Exchange exchange) noexcept
