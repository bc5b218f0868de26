"""What a trusted proxy says about the client of a request: C-level interface."""

cdef class Exchange


# Find out who the client is, and what servers are told of it; false if that has failed.
cdef bint heed_claims(Exchange exchange) noexcept
