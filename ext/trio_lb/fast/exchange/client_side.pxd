"""A client's connection on the fast path: C-level interface."""

from libc.stdint cimport uint64_t

from trio_lb.fast.http1 cimport HeadLimits
from trio_lb.fast.loop cimport Buffer, Watched, Wire

#: A body that takes longer than this to come is the slow path's, which knows how slow it may
#: be. And every so often it is looked whether a client that waits is still there. Seconds.
cdef double PATIENCE

#: A draining client may state a last request within this time; seconds, as in
#: trio_lb.downstream.http1_session.
cdef double LAST_REQUEST


cdef class ClientSide(Watched):
    cdef FastPath path
    cdef Origin origin
    cdef Clients clients        # while it has no task, or None
    cdef object task            # that sleeps in `run`
    cdef Handover ending        # of the run that is over
    # Under way: HTTP/1.1 has one at a time. Without a request, that of all clients without one.
    cdef readonly Exchange exchange
    cdef readonly uint64_t served       # requests on this connection, on both paths
    cdef bint readable          # the last receive did not say that there is nothing more
    cdef bint blocked           # the last send said that there is no room
    cdef bint hung_up           # the client has sent its last byte
    cdef double ended_at        # when that was seen while an answer went on, or NEVER
    cdef bint draining
    cdef double idle_from       # the last request had ended
    cdef Buffer input           # from the request's first byte on, and what came behind it
    cdef MinimumRate read_credit        # while it has to be waited for to take a response
    cdef MinimumRate send_credit        # while a body is waited for

    cdef int set_up(self, FastPath path, int fd, Wire wire, Origin origin) except -1
    # Go on with what has come, from the first request's beginning.
    cdef int begin(self, bytes unread, uint64_t served) except -1
    # Wait for the next request, or the first.
    cdef void await_request(self) noexcept
    # End the run: what the slow path needs goes into `ending`, and the task wakes up.
    cdef void end(self, HandoverReason why, str reason=*) noexcept
    cdef void lose_exchange(self, Exchange instead) noexcept
    cdef void forget(self) noexcept
    cdef void unwatch(self, bint unregister) noexcept
    # Whether such an end leaves nothing to do but to close.
    cdef bint closes(self, HandoverReason why) noexcept
    cdef void on_late_response(self, double now) noexcept
    cdef void wait_until(self, double when) noexcept
    cdef void look_for_client(self) noexcept
