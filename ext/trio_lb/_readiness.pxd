"""Readiness of many sockets under one Trio task: C-level interface (Linux).

Trio's own wait costs an `epoll_ctl` and a task switch. Here sockets are registered once, for both
directions and edge-triggered, with an epoll of our own; one task waits for that epoll's descriptor
and calls one C-level method of whatever became ready. What is called does a bounded piece of work
and comes back; if there is more to do, it asks to be stepped `again`.

The rules of edges, for whoever is watched: an edge says that something has changed since the last
look, and is not repeated. So `on_ready` notes what it says, and a direction is used until the
kernel says EAGAIN or gives less than was asked for. Whoever stops earlier has to remember that.
"""

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    READABLE = 0x001            # EPOLLIN
    WRITABLE = 0x004            # EPOLLOUT
    BROKEN = 0x008              # EPOLLERR
    HUNG_UP = 0x010             # EPOLLHUP: both directions are closed
    ENDED = 0x2000              # EPOLLRDHUP: the peer has sent its last byte

cdef double TICK                # seconds between two looks at the deadlines

cdef enum:
    NOWHERE = 0xFFFFFFFF

cdef extern from "<math.h>" nogil:
    double NEVER "INFINITY"


cdef class Watched:
    """Something with a socket. Its methods may do anything with it, and call `forget`; they are
    never called once it is forgotten.
    """
    cdef int fd
    cdef uint32_t place         # in Readiness; NOWHERE while it is not watched
    cdef bint waiting           # for its turn
    cdef Watched behind         # in the queue of those who wait

    cdef void on_ready(self, uint32_t events) noexcept
    cdef void step(self) noexcept
    cdef void on_late(self) noexcept


cdef struct Entry:
    void *watched               # a reference that is ours, or NULL
    uint32_t generation         # how often this place was given up: tells old events from new


cdef class Readiness:
    cdef readonly int fd        # of the epoll; -1 when closed
    cdef double now             # Trio's clock when the batch under way began, seconds
    # By place. Apart from the entries, because the sweep reads all of them, and nothing else.
    cdef double *deadlines
    cdef Entry *entries
    cdef uint32_t capacity
    cdef uint32_t used          # places below it may be taken
    cdef uint32_t watching
    cdef uint32_t *free_places
    cdef uint32_t free_count
    cdef Watched first, last    # the queue of those who wait for their turn
    cdef bint turning           # in `turn`, which looks at the queue before it comes back
    cdef int alarm              # an eventfd, to have it called
    cdef object clock
    cdef uint64_t batch         # how often events were collected
    cdef double mean_gap        # between events, seconds
    cdef int under_way          # those watched for whom something has to come soon: they count it
    # Whether it may wait outside of Trio
    cdef readonly int loop      # the epoll of Trio's loop; -1: not known
    cdef object others
    cdef uint64_t waits         # of theirs that had ended when it was asked last
    cdef bint woken             # a task from here, likewise

    # Begin to call `watched`; its socket is `fd` from now on. Raises OSError.
    cdef int watch(self, Watched watched, int fd) except -1
    # Call it no more. Whoever asks closes the socket, or asks for `unregister`.
    cdef void forget(self, Watched watched, bint unregister) noexcept
    # Call its `step` when the others have had a turn.
    cdef void again(self, Watched watched) noexcept
    # Bring `now` up to date, for who is not called from a batch.
    cdef int look_at_clock(self) except -1
    # Have a task go on that waits to be rescheduled.
    cdef int wake(self, task) except -1
    cdef bint turn(self) except -1
    cdef int begin_batch(self, int count) except -1
    cdef bint linger(self) except -1
    cdef bint others_run(self) except -1
    cdef void call(self, uint64_t key, uint32_t events) noexcept
    cdef void call_queue(self) noexcept
    cdef bint sweep(self) except -1
    cdef int grow(self) except -1


cdef inline void set_deadline(Readiness readiness, Watched watched, double when) noexcept:
    """Have `on_late` called once when `when` has passed, unless it is set anew; NEVER: not at all.
    It is late by up to a tick of the sweep."""
    readiness.deadlines[watched.place] = when
