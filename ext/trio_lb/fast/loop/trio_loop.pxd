"""Trio's loop, as seen by a task that would rather not go back to it: C-level interface (Linux)."""

cdef class TrioLoop:
    cdef readonly int fd        # of its epoll; -1: not known
    cdef object clock
    cdef object task            # that asks
    cdef int awaited            # what it waits for in Trio's way
    cdef bint watches           # that one, though with no regard to it while nobody waits
    cdef bint scheduled         # some other task, since this one has last let go
    cdef double deadline        # when the loop has to wake somebody, by the clock

    # Seconds for which nobody but the asking task has anything to do, unless something happens
    # that `fd` tells; 0.0: others wait for their turn already.
    cdef double leisure(self, double now) noexcept nogil
    # The loop's epoll shall not watch what the asking task waits for until that waits again. As it
    # is an epoll, each of its events would be passed on, at the expense of whoever causes it.
    cdef int stay_away(self) except -1
    # The asking task gives its turn to the others.
    cdef void let_go(self) noexcept
