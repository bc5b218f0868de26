"""The first stage of a plain request: it comes: C-level interface."""


# Receive some of it; when all that is needed is there, a server is picked.
cdef void read_request(ClientSide client) noexcept
# Look at what is in the buffer.
cdef void parse(ClientSide client) noexcept
