"""Readiness by an epoll of our own: C-level interface."""

cdef class Epoll(Readiness):
    cdef readonly int fd        # of the epoll; -1 when closed
    cdef int alarm              # an eventfd, to have `turn` called
    cdef readonly Waits waits

    cdef bint joined            # to ours is Trio's epoll, for the rest of this turn
    cdef double joined_at       # when it was, last; seconds
    cdef double long_turns_until    # seconds

    # Call some of those who are ready, or wait for their turn; how many events that were. If there
    # are none, one is waited for for so many milliseconds.
    cdef int take_batch(self, int milliseconds) except -1
    # Call those who are ready, until there are none, or other tasks come first.
    cdef int turn(self) except -1
    cdef int begin_batch(self, int count) except -1
    cdef bint wait(self) except -1
    # Trio's epoll need not watch ours for the rest of this turn.
    cdef int stay_away(self) except -1
    # A turn that began then is over.
    cdef void come_back(self, double began) noexcept
