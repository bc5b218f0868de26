"""What the fast path's machines share."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from trio_lb.fast.http1 cimport DATE_LINE, HeadLimits
from trio_lb.fast.loop cimport Buffers, Readiness, Server
from trio_lb.fast.record cimport RecordBuffer
from trio_lb.fast.table cimport Selection, Table

cdef enum:
    MAX_ID = 32                 # bytes of a request id that we make

cdef struct Patience:           # seconds; see `timeouts` in the profile
    double client_head
    double keep_alive
    double body
    double connect
    double response
    double half_closed
    double idle                 # of a server's connection


cdef class Handover


cdef class FastPath:
    cdef Readiness readiness
    cdef Table table
    cdef Selection selection
    cdef Buffers buffers
    cdef list servers           # Server
    cdef int32_t *index_at      # in `servers`, by table slot; of its members only
    cdef HeadLimits limits
    cdef HeadLimits limits_of_trusted   # clients that are proxies, whose claims count
    cdef Patience patience
    cdef uint64_t replay_body
    cdef double rate            # bytes per second that a client takes at least; 0: any
    cdef uint64_t most_requests
    cdef char id_prefix[MAX_ID]
    cdef size_t id_prefix_length
    cdef uint64_t serial
    cdef RecordBuffer records   # of requests that were served here; None: nobody reads any
    cdef Handover failed        # that of a run of which nothing could be handed over

    cdef char date[DATE_LINE]
    cdef int64_t dated          # the second that it is for

    # The Date line of this second, for a response that has come without one.
    cdef const char *date_line(self) noexcept nogil
    # Make a request id; its length.
    cdef size_t make_id(self, char *out) noexcept nogil
