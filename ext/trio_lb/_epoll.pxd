"""Readiness by an epoll of our own: C-level interface (Linux)."""

from libc.stdint cimport uint64_t

from trio_lb._readiness cimport Readiness


cdef class Epoll(Readiness):
    cdef readonly int fd        # of the epoll; -1 when closed
    cdef int alarm              # an eventfd, to have `turn` called
    cdef double mean_gap        # between events, seconds
    # Whether it may wait outside of Trio
    cdef readonly int loop      # the epoll of Trio's loop; -1: not known
    cdef object others
    cdef uint64_t waits         # of theirs that had ended when it was asked last

    # Call those who are ready; true if there is more to do, but other tasks come first.
    cdef bint turn(self) except -1
    cdef int begin_batch(self, int count) except -1
    cdef bint linger(self) except -1
    cdef bint others_run(self) except -1
