"""Connections to servers that both paths use: C-level interface.

Every connection has a Transport, which owns its socket. While the fast path uses it, or nobody
does, it is watched; the slow path gets the Transport alone.
"""

from libc.stdint cimport uint32_t, uint64_t


#: Seconds for which a server has hardly anything to say on its own behind an answer.
cdef double MOMENT


cdef class Upstream(Watched):
    """One connection to a server: idle, or used by one exchange."""
    cdef readonly object transport
    cdef readonly bint reused   # it came from among the idle ones
    cdef Server server
    cdef Watched user           # stepped when something happens; None while it is idle
    # The next older idle one, and the next younger one. Only the older one is owned: it lives as
    # long as it is in the list, and a circle of references would outlive it.
    cdef Upstream below
    cdef void *above
    cdef uint64_t batch         # of readiness, in which it became idle
    cdef uint64_t taken         # that in which it was taken from among the idle ones
    cdef double since           # when it became idle
    cdef double born            # when it was connected
    cdef bint readable          # the last receive did not say that there is nothing more
    cdef bint writable          # it has been; so it is connected
    cdef bint ended             # closed by the server, or broken; bytes may still be there
    cdef bint broken
    cdef bint stale             # what has come on it had come before it was taken


cdef class Server:
    """A server's idle connections: last in, first out, since the one that was used most recently
    is the least likely to be closed by its server at this moment.
    """
    cdef Readiness readiness
    cdef readonly uint32_t slot         # in the table
    cdef public object member           # of the pool, for Python
    cdef public bytes name              # in the profile
    cdef readonly bytes prefix          # of its URL's path
    cdef const char *prefix_data
    cdef size_t prefix_length
    cdef object dial
    cdef double head_start              # of what that begins: the slow path goes on with it then
    cdef Upstream top
    cdef readonly uint32_t idle
    cdef uint32_t limit
    cdef double max_age

    # The one used last if it became idle at `oldest` or later, or None. It has no user yet.
    cdef Upstream take(self, double oldest)
    # Keep it, or close it if there are enough.
    cdef void keep(self, Upstream upstream) noexcept
    cdef void push(self, Upstream upstream) noexcept
    cdef Upstream pop(self)
    cdef void remove(self, Upstream upstream) noexcept


# Watch a connection; the Transport is its owner.
cdef Upstream attend(Readiness readiness, Server server, object transport)
# Watch it no more and close it.
cdef void discard(Upstream upstream) noexcept
# Watch it no more; its Transport.
cdef object take_transport(Upstream upstream)
# From an `except` of a stage, which can't raise: tell of a fault of our own.
cdef void log_fault(str doing) noexcept


cdef inline bint known_to_be_silent(Upstream upstream) noexcept:
    """Readiness has looked at it since it became idle, a moment ago, and found nothing.

    That look was at the beginning of the batch under way. Longer ago something else may have come
    since then: servers give up on connections that are idle.
    """
    cdef Readiness readiness = upstream.server.readiness
    return (readiness.turning and upstream.batch != readiness.batch
            and readiness.now - upstream.since < MOMENT)
