"""Who is stepped, in which order, and who is late; see readiness.pxd.

Two tasks, in somebody's nursery: `watch_forever` calls those whose sockets are ready, and
`sweep_forever` those whose deadlines have passed, by the rules of `clock`. Both do bounded amounts
of work between two turns of the other tasks, however many sockets are busy.
"""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, realloc

import trio

cdef enum:
    STEPS = 64                  # before events are looked for again
    LATE = 256                  # deadlines that are dealt with before other tasks get their turn
    CATCHING_UP = 16            # batches that are taken before that
    AT_LEAST = 64               # events that a batch has when there are so many


@cython.auto_pickle(False)
cdef class Watched:
    """Base of all that is watched: does nothing, and is not watched yet."""

    def __cinit__(self):
        self.channel.fd = -1
        self.place = NOWHERE

    cdef void on_ready(self, uint32_t events) noexcept:
        """The socket has become ready: READABLE, WRITABLE, BROKEN, HUNG_UP, ENDED in any mixture"""

    cdef void step(self) noexcept:
        """Do a bounded piece of work: the turn that was asked for with `again`."""

    cdef void on_late(self) noexcept:
        """The deadline has passed, and is no more."""

    cdef void on_standstill(self, double seconds) noexcept:
        """The loop stood still for so long, and nobody is to wait that much longer: move the times
        from which that is reckoned. The deadline has been moved."""


@cython.auto_pickle(False)
cdef class Readiness:
    """All watched sockets of a process: base of `Epoll`.

    Args:
        clock: that of the deadlines; None: one for the run in which this is made.
    """

    def __cinit__(self, clock=None):
        self.clock = clock if isinstance(clock, LoopClock) else LoopClock(clock)
        self.grow()

    def __dealloc__(self):
        cdef uint32_t place
        for place in range(self.used):
            if self.entries[place].watched is not NULL:
                Py_DECREF(<object> self.entries[place].watched)
        free(self.entries)
        free(self.deadlines)
        free(self.free_places)

    def __len__(self):
        """How many are watched."""
        return self.watching

    cdef int grow(self) except -1:
        cdef uint32_t capacity = self.capacity * 2 or 256
        cdef void *memory = realloc(self.entries, capacity * sizeof(Entry))
        if memory is NULL:
            raise MemoryError
        self.entries = <Entry *> memory
        memory = realloc(self.deadlines, capacity * sizeof(double))
        if memory is NULL:
            raise MemoryError
        self.deadlines = <double *> memory
        memory = realloc(self.free_places, capacity * sizeof(uint32_t))
        if memory is NULL:
            raise MemoryError
        self.free_places = <uint32_t *> memory
        self.capacity = capacity
        return 0

    cdef int watch(self, Watched watched, int fd, Wire wire) except -1:
        cdef uint32_t place
        if self.free_count:
            place = self.free_places[self.free_count - 1]
        else:
            if self.used == self.capacity:
                self.grow()
            place = self.used
            self.entries[place].generation = 0
        self.register(fd, key_of(self, place))
        if self.free_count:
            self.free_count -= 1
        else:
            self.used += 1
        Py_INCREF(watched)
        self.entries[place].watched = <void *> watched
        self.deadlines[place] = NEVER
        self.watching += 1
        watched.wire = wire
        open_channel(&watched.channel, fd, wire)
        watched.place = place
        return 0

    cdef void forget(self, Watched watched, bint unregister) noexcept:
        cdef uint32_t place = watched.place
        if place == NOWHERE:
            return
        if unregister:
            self.unregister(watched.channel.fd)
        # Events of it that were collected already are told by their generation.
        self.entries[place].generation += 1
        self.entries[place].watched = NULL
        self.deadlines[place] = NEVER
        self.free_places[self.free_count] = place
        self.free_count += 1
        self.watching -= 1
        watched.place = NOWHERE
        open_channel(&watched.channel, -1, None)
        watched.wire = None
        Py_DECREF(watched)

    cdef void again(self, Watched watched) noexcept:
        if watched.waiting:
            return
        watched.waiting = True
        if self.last is None:
            self.first = watched
            if not self.turning:
                self.ring()
        else:
            self.last.behind = watched
        self.last = watched

    cdef int look_at_clock(self) except -1:
        self.now = self.clock.look()
        return 0

    cdef void call_queue(self) noexcept:
        """Step those who wait for their turn now; who asks for another one comes behind."""
        cdef Watched watched, last = self.last
        cdef int left = STEPS
        while self.first is not None and left:
            left -= 1
            watched = self.first
            self.first = watched.behind
            watched.behind = None
            watched.waiting = False
            if self.first is None:
                self.last = None
            if watched.place != NOWHERE:
                watched.step()
            if watched is last:
                return

    cdef bint sweep(self, double due) except -1:
        cdef uint32_t place
        cdef int left = LATE
        cdef Watched watched
        self.now = due
        for place in range(self.used):
            if self.deadlines[place] > due:
                continue
            watched = <Watched> self.entries[place].watched
            if watched.waiting:
                continue        # something has come, and its turn is before that of the deadline
            self.deadlines[place] = NEVER
            watched.on_late()
            left -= 1
            if not left:
                return True
        return False

    async def sweep_forever(self):
        """Call whoever is late, until cancelled."""
        cdef double due
        cdef uint64_t left
        self.clock.join(self._shift)
        try:
            while True:
                due = await self.clock.tick()
                # What had come by then is taken first. There is an end to it however fast more
                # comes: with each batch they get fewer who have not had a turn since.
                left = self.watching // AT_LEAST + 1
                while left and not self.catch_up():
                    left -= 1
                    if not left % CATCHING_UP:
                        await trio.lowlevel.checkpoint()
                while self.sweep(due):
                    await trio.lowlevel.checkpoint()
        finally:
            self.clock.leave(self._shift)

    def _shift(self, double seconds):
        """The loop stood still for so long: no deadline comes nearer by that."""
        cdef uint32_t place
        cdef Watched watched
        for place in range(self.used):
            if self.entries[place].watched is not NULL:
                self.deadlines[place] += seconds
                watched = <Watched> self.entries[place].watched
                watched.on_standstill(seconds)

    cdef bint catch_up(self) except -1:
        return True

    cdef int register(self, int fd, uint64_t key) except -1:
        return 0

    cdef void unregister(self, int fd) noexcept:
        pass

    cdef void ring(self) noexcept:
        pass
