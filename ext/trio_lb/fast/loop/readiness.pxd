"""Readiness of many sockets: C-level interface.

One C-level method is called of whatever became ready. What is called does a bounded piece of work
and comes back; if there is more to do, it asks to be stepped `again`. How readiness is found out is
a matter of `epoll`.

The rules of edges, for whoever is watched: an edge says that something has changed since the last
look, and is not repeated. So `on_ready` notes what it says, and a direction is used until the
kernel says EAGAIN or gives less than was asked for. Whoever stops earlier has to remember that.
"""

from libc.stdint cimport uint32_t, uint64_t

from trio_lb.fast.clock cimport LoopClock, TICK

cdef enum:
    READABLE = 0x001            # as poll(2) and epoll(7) have them
    WRITABLE = 0x004
    BROKEN = 0x008
    HUNG_UP = 0x010             # both directions are closed
    ENDED = 0x2000              # the peer has sent its last byte

cdef enum:
    NOWHERE = 0xFFFFFFFF

cdef extern from "<math.h>" nogil:
    double NEVER "INFINITY"


cdef class Watched:
    """Something with a socket. Its methods may do anything with it, and call `forget`; they are
    never called once it is forgotten.
    """
    cdef Channel channel        # its descriptor is -1 while it is not watched
    cdef Wire wire              # of the channel, or None
    cdef uint32_t place         # in Readiness; NOWHERE while it is not watched
    cdef bint waiting           # for its turn
    cdef Watched behind         # in the queue of those who wait

    cdef void on_ready(self, uint32_t events) noexcept
    cdef void step(self) noexcept
    cdef void on_late(self) noexcept
    cdef void on_standstill(self, double seconds) noexcept


cdef struct Entry:
    void *watched               # a reference that is ours, or NULL
    uint32_t generation         # how often this place was given up: tells old events from new


cdef class Readiness:
    cdef double now             # by the clock when the batch under way began, seconds
    # By place. Apart from the entries, because the sweep reads all of them, and nothing else.
    cdef double *deadlines
    cdef Entry *entries
    cdef uint32_t capacity
    cdef uint32_t used          # places below it may be taken
    cdef uint32_t watching
    cdef uint32_t *free_places
    cdef uint32_t free_count
    cdef Watched first, last    # the queue of those who wait for their turn
    cdef bint turning           # at work on the queue already, so there is no need to `ring`
    cdef LoopClock clock
    cdef uint64_t batch         # how often all events were collected
    cdef readonly int under_way     # how many wait for what has to come soon; they keep it
    cdef double usual_wait      # seconds in which what has to come does so, at present

    # Begin to call `watched`; its socket is `fd` from now on, with `wire` before it, or None.
    # Raises OSError.
    cdef int watch(self, Watched watched, int fd, Wire wire) except -1
    # Call it no more. Whoever asks closes the socket, or asks for `unregister`.
    cdef void forget(self, Watched watched, bint unregister) noexcept
    # Call its `step` when the others have had a turn.
    cdef void again(self, Watched watched) noexcept
    # Bring `now` up to date, for who is not called from a batch.
    cdef int look_at_clock(self) except -1
    # Step those who wait for their turn now.
    cdef void call_queue(self) noexcept
    # Call those whose deadline was `due`, or before; true if there may be more, but other tasks
    # come first.
    cdef bint sweep(self, double due) except -1
    cdef int grow(self) except -1

    # What `Epoll` adds. A place's key tells it from its former uses.
    # Take some of the events that have come; true if those were all.
    cdef bint catch_up(self) except -1
    cdef int register(self, int fd, uint64_t key) except -1
    cdef void unregister(self, int fd) noexcept
    # Somebody waits for a turn, and nobody did before.
    cdef void ring(self) noexcept


cdef inline uint64_t key_of(Readiness readiness, uint32_t place) noexcept:
    return <uint64_t> readiness.entries[place].generation << 32 | place


cdef inline Entry *entry_of(Readiness readiness, uint64_t key) noexcept:
    """NULL if what had this key was forgotten meanwhile."""
    cdef Entry *entry = &readiness.entries[<uint32_t> key]
    return entry if entry.watched is not NULL and entry.generation == key >> 32 else NULL


cdef inline void pass_on(Readiness readiness, uint64_t key, uint32_t events) noexcept:
    """Pass events on, unless they are of somebody who was forgotten meanwhile."""
    cdef Entry *entry = entry_of(readiness, key)
    cdef Watched watched
    if entry is not NULL:
        watched = <Watched> entry.watched
        watched.on_ready(events)


cdef inline void set_deadline(Readiness readiness, Watched watched, double when) noexcept:
    """Have `on_late` called once when `when` has passed, unless it is set anew; NEVER: not at all.
    It is late by up to a tick of the sweep, and moves when the loop stands still: see `_clock`."""
    readiness.deadlines[watched.place] = when


cdef inline void came_after(Readiness readiness, double seconds) noexcept:
    """What had to come has come. What takes far longer than usual says little about the others."""
    readiness.usual_wait += (
        min(seconds, 2 * readiness.usual_wait + 0.00001) - readiness.usual_wait) / 64
