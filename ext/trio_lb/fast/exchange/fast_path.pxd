"""What the fast path's machines share."""

from libc.stdint cimport int64_t, uint64_t

from trio_lb.fast.http1 cimport DATE_LINE, HeadLimits
from trio_lb.fast.loop cimport Buffers, Readiness, Watched
from trio_lb.fast.record cimport RecordBuffer
from trio_lb.fast.table cimport Table

cdef enum:
    MAX_ID = 32                 # bytes of a request id that we make

cdef struct Patience:           # with clients, seconds; see `timeouts` in the profile
    double head
    double keep_alive
    double body
    double half_closed


cdef class ClientSide(Watched)
cdef class Exchange
cdef class Handover


cdef class FastPath:
    cdef Readiness readiness
    cdef Table table
    cdef Route route            # of all requests
    cdef Buffers buffers
    cdef HeadLimits limits
    cdef dict claimed           # Origins, by what which trusted proxy says; see claims.pxi
    cdef Patience patience
    cdef double rate            # bytes per second that a client takes at least; 0: any
    cdef uint64_t most_requests
    cdef char id_prefix[MAX_ID]
    cdef size_t id_prefix_length
    cdef uint64_t serial
    cdef RecordBuffer records   # of requests that were served here; None: nobody reads any
    cdef Handover failed        # that of a run of which nothing could be handed over
    # Clients that have no request share one of these two, so that they need no memory for one.
    cdef Exchange idle          # that of those who may send one
    cdef Exchange away          # that of those who are not on the fast path
    # The first `spare_count` are exchanges that nobody has. The list does not shrink: a list that
    # grows and shrinks by one is reallocated each time.
    cdef list unused
    cdef Py_ssize_t spare_count

    cdef char date[DATE_LINE]
    cdef int64_t dated          # the second that it is for

    # The Date line of this second, for a response that has come without one.
    cdef const char *date_line(self) noexcept nogil
    # Give a client an exchange of its own; false if there is no memory for one.
    cdef bint lend(self, ClientSide client) noexcept
    # It is nobody's, and knows of no request.
    cdef void take_back(self, Exchange exchange) noexcept
    # Make a request id; its length.
    cdef size_t make_id(self, char *out) noexcept nogil
