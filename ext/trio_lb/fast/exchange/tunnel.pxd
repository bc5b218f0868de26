"""A tunnel: two connections whose bytes go from one to the other: C-level interface."""

from libc.stdint cimport uint64_t

from trio_lb.fast.loop cimport Buffer, Watched


# How a tunnel has ended.
cpdef enum TunnelOutcome:
    BOTH_ENDED
    CLIENT_BROKE_OFF
    SERVER_BROKE_OFF
    IDLE                        # nothing has moved for too long
    NO_MEMORY                   # for a buffer, on this host


cdef class TunnelSide(Watched):
    """One of the connections, and what comes from it."""
    cdef Tunnel tunnel          # None when it is over
    cdef TunnelSide other
    cdef Buffer rest            # what has come and the other side has not taken; mostly none
    cdef bint readable          # the last receive did not say that there is nothing more
    cdef bint leaving           # it has sent its last byte, or is broken
    cdef bint ended             # nothing more comes from it, and the other side was told
    cdef uint64_t moved         # bytes that the other side has taken

    # Receive once, and send what came; only while nothing is left of the last time.
    cdef void pass_some(self) noexcept
    # Send what was left.
    cdef void flush_rest(self) noexcept
    cdef void finish(self) noexcept


cdef class Tunnel:
    cdef FastPath path
    cdef TunnelSide client
    cdef TunnelSide server
    cdef double idle            # seconds that it may be without a byte in either direction
    cdef double half_closed     # the same when one side has ended
    cdef double moved           # when bytes last moved
    cdef double asked           # when the server got bytes on which it has said nothing yet
    cdef object server_ended
    cdef object task            # that sleeps in `run`
    cdef TunnelOutcome outcome

    cdef int watch(self, int client, int server) except -1
    # The server got some bytes, or said some.
    cdef void begin_waiting(self) noexcept
    cdef void end_waiting(self) noexcept
    cdef void tell_server_ended(self) noexcept
    # Watch the connections no more, and wake the task.
    cdef void end(self, TunnelOutcome outcome) noexcept
    cdef void let_go(self) noexcept
