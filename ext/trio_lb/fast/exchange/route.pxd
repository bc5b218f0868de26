"""How a request is forwarded: what is found when its head is known."""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from trio_lb.fast.http1 cimport RouteLimits
from trio_lb.fast.table cimport Selection, Table

cdef class Exchange


cdef class Route:
    cdef Selection selection
    cdef list servers           # Server
    cdef int32_t *index_at      # in `servers`, by table slot; of its members only
    cdef uint32_t capacity      # slots
    cdef RouteLimits limits
    cdef uint64_t replay_body
    cdef double connect_timeout
    cdef double response_timeout
    cdef double idle_timeout    # of a server's connection


# Find the route of a request whose head is known. There is one.
cdef void find_route(Exchange exchange) noexcept
