"""What the fast path's machines share, and what they leave to the slow path."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

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


# Why a client's run on the fast path has ended.
cpdef enum HandoverReason:
    FALLBACK                    # the slow path goes on with what is under way
    CLOSED_IDLE                 # no request was under way
    SERVED                      # the last request of the connection has its answer
    CLIENT_GONE                 # in the middle
    CLIENT_SLOW                 # to read its response
    TRUNCATED                   # the server broke its response off
    CANCELLED
    INTERNAL_ERROR              # a fault of our own, which was logged


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


cdef class Handover:
    cdef readonly HandoverReason why
    cdef readonly str reason
    cdef readonly bytes unread
    cdef readonly object began
    cdef readonly object started
    cdef readonly bytes request_id
    cdef readonly object member
    cdef readonly object transport
    cdef readonly bint reused
    cdef readonly bint stale
    cdef readonly int connect_error
    cdef readonly bytes unsent
    cdef readonly bytes received
    cdef readonly uint64_t begun_body
    cdef readonly object gone
    cdef readonly object chunk
    cdef readonly bint whole
    cdef readonly object patience
    cdef readonly double server_waited
    cdef readonly double sent
    cdef readonly uint64_t collected
    cdef readonly uint32_t status
    cdef readonly bint last
    cdef readonly bint server_closes
    cdef readonly uint64_t passed
