"""What the fast path leaves to the slow path: C-level interface."""

from libc.stdint cimport uint32_t, uint64_t

cdef class Exchange


# Why a client's run on the fast path has ended.
cpdef enum HandoverReason:
    FALLBACK                    # the slow path goes on with what is under way
    NO_SERVER                   # likewise, and waits for a server: none could take the request
    CLOSED_IDLE                 # no request was under way
    SERVED                      # the last request of the connection has its answer
    CLIENT_GONE                 # in the middle
    CLIENT_SLOW                 # to read its response
    TRUNCATED                   # the server broke its response off
    CANCELLED
    INTERNAL_ERROR              # a fault of our own, which was logged


cdef class UpstreamState
cdef class AnswerState


cdef class Handover:
    cdef readonly HandoverReason why
    cdef readonly str reason
    cdef readonly bytes unread
    cdef readonly object began
    cdef readonly object started
    cdef readonly object member
    cdef readonly bytes request_id
    cdef readonly uint64_t collected
    cdef readonly int connect_error
    cdef readonly UpstreamState upstream
    cdef readonly AnswerState answer


cdef class UpstreamState:
    cdef readonly object transport
    cdef readonly bint reused
    cdef readonly bint stale
    cdef readonly bytes unsent
    cdef readonly bint whole
    cdef readonly uint64_t begun_body
    cdef readonly object gone
    cdef readonly object chunk
    cdef readonly object patience
    cdef readonly double server_waited
    cdef readonly double sent
    cdef readonly uint32_t interims
    cdef readonly bytes received


cdef class AnswerState:
    cdef readonly uint32_t status
    cdef readonly bint last
    cdef readonly bint server_closes
    cdef readonly uint64_t passed


# One that says why, and hands nothing over.
cdef Handover empty_handover(HandoverReason why, str reason)
# All that the slow path needs of a client. The connection to its server is no longer ours.
cdef Handover hand_over(ClientSide client, HandoverReason why, str reason)
