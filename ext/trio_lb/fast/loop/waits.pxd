"""Waiting outside of Trio's loop: may the task of our epoll do so, and how long (Linux)?"""

cdef class Waits:
    # What Trio's loop has to do
    cdef readonly int fd        # of its epoll; -1: not known, and nobody may wait
    cdef object clock
    cdef object task            # that asks
    cdef int awaited            # what it waits for in Trio's way
    cdef bint watches           # that one, though with no regard to it while nobody waits
    cdef bint heard             # that the asking one was scheduled
    cdef bint scheduled         # some other task, since the asking one has last let go
    cdef double deadline        # when the loop has to wake somebody, by the clock
    # How events come
    cdef double mean_gap        # between two of them, seconds

    # The question. Seconds for which the asking task may wait for the next event by itself, as
    # long as `fd` does not become readable; 0.0: it has to go back to Trio's loop.
    cdef double allowed(self, double now) noexcept nogil
    # Seconds of these for which it waits without a look at its own events, so that more of them
    # come together; 0.0: it looks at once. `under_way` requests wait for answers, which usually
    # take `usual_wait` seconds.
    cdef double gathering(self, int under_way, double usual_wait) noexcept nogil
    # Another task has something to do, or Trio's loop will find something for it.
    cdef bint others_come_first(self, double now) noexcept nogil
    # Seconds for which Trio's loop has nothing to do, as far as it knows.
    cdef double leisure(self, double now) noexcept nogil
    # Events have come, so many, and so many seconds after the last ones.
    cdef int came(self, int count, double seconds) except -1
    # From now on Trio's epoll shall not watch what the asking task waits for, until that waits
    # again: each event of ours would wake that one too, at the expense of whoever causes it.
    cdef int stay_away(self) except -1
    # Trio's epoll has become readable: some other task will be scheduled.
    cdef void hear(self) noexcept
    # The asking task goes back to Trio's loop.
    cdef void let_go(self) noexcept
