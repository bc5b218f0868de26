"""How slow a client may be: the arithmetic of trio_lb.net.minimum_rate.

It lives on credit, in seconds. Waiting for it uses the credit up, and bytes that come from it, or
that reach it (not those that the system keeps for it), earn some back.
"""

from trio_lb.fast.loop cimport in_queue, NEVER

cdef struct MinimumRate:
    double left                 # credit
    double patience             # at most
    double rate                 # bytes that earn a second back; 0: any byte earns all of it
    double since                # what was waited before is paid
    int queue                   # bytes in the system then


cdef inline void begin_waiting(MinimumRate *pace, double now, int fd) noexcept nogil:
    pace.since = now
    pace.queue = in_queue(fd)


cdef inline void pay(MinimumRate *pace, double now, int fd) noexcept nogil:
    """Account for the time that was waited until `now`."""
    cdef int left = in_queue(fd)
    earn(pace, now, pace.queue - left)
    pace.queue = left


cdef inline void earn(MinimumRate *pace, double now, ssize_t moved) noexcept nogil:
    """Account for the time that was waited until `now`, and for the bytes that moved then."""
    pace.left -= now - pace.since
    if moved > 0:
        pace.left += moved / pace.rate if pace.rate > 0.0 else NEVER
    pace.left = min(pace.left, pace.patience)
    pace.since = now
