"""Readiness by an epoll of our own: C-level interface."""

cdef class Epoll(Readiness):
    cdef readonly int fd        # of the epoll; -1 when closed
    cdef int alarm              # an eventfd, to have `turn` called
    cdef readonly Waits waits

    # Call some of those who are ready, or wait for their turn; how many events that were.
    cdef int take_batch(self) except -1
    # Call those who are ready, until there are none, or other tasks come first.
    cdef int turn(self) except -1
    cdef int begin_batch(self, int count) except -1
    cdef bint wait(self) except -1
