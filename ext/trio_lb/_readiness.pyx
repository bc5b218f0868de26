"""Readiness of many sockets under one Trio task; see _readiness.pxd.

Two tasks, in somebody's nursery: `watch_forever` calls those whose sockets are ready, and
`sweep_forever` those whose deadlines have passed. Both do bounded amounts of work between two
turns of the other tasks, however many sockets are busy.

While events come all the time, `watch_forever` waits for the next one by itself, and has Trio's
loop wake it up from that: waiting for the epoll of that loop as well, it comes back for whatever
else happens.
"""

cimport cython
from libc.errno cimport EINTR, errno
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, realloc

import contextlib
import os
import re
from pathlib import Path

import trio

cdef extern from "<sys/epoll.h>" nogil:
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL
    unsigned int EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLET
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait(int epfd, epoll_event *events, int maxevents, int timeout)

cdef extern from "<poll.h>" nogil:
    """
    #include <time.h>
    /* Wait until one of two is readable; true if only the first one is. */
    static inline int tlb_only_first(int first, int second, int milliseconds) {
        struct pollfd both[2] = {{.fd = first, .events = POLLIN}, {.fd = second, .events = POLLIN}};
        return poll(both, 2, milliseconds) == 1 && both[0].revents;
    }
    static inline void tlb_sleep(int microseconds) {
        struct timespec time = {0, microseconds * 1000L};
        nanosleep(&time, NULL);
    }
    """
    bint only_first "tlb_only_first"(int first, int second, int milliseconds)
    void sleep_for "tlb_sleep"(int microseconds)

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int initval, int flags)
    int eventfd_write(int fd, uint64_t value)


cdef enum:
    BATCH = 64                  # events, or steps, between two looks at the clock
    LATE = 256                  # deadlines that are dealt with before other tasks get their turn

#: Seconds of calls after which other tasks get their turn.
cdef double SLICE = 0.001

#: Events that come as often as this, in the mean, are waited for without Trio's loop. Seconds.
cdef double OFTEN = 0.001
cdef double QUIET = 0.016       # and longer gaps say no more than this

#: And at most for so long. Milliseconds; for less than its tick the kernel has to set a timer.
cdef int LONGEST_WAIT = 5

#: With so many requests under way, and their events coming as often as this (seconds), the next
#: ones are let gather for a moment: a microsecond for each request, but at most so many. (And what
#: the system rounds a short sleep up to, 50 microseconds by default.)
cdef enum:
    MANY = 8
    LONGEST_GATHERING = 50
cdef double DENSE = 0.00002

cdef uint64_t NOBODY = <uint64_t> -1    # the alarm's key

TICK = 0.1                      # far below the shortest deadline that makes sense


@cython.auto_pickle(False)
cdef class Watched:
    """Base of all that is watched: does nothing, and is not watched yet."""

    def __cinit__(self):
        self.fd = -1
        self.place = NOWHERE

    cdef void on_ready(self, uint32_t events) noexcept:
        """The socket has become ready: READABLE, WRITABLE, BROKEN, HUNG_UP, ENDED in any mixture"""

    cdef void step(self) noexcept:
        """Do a bounded piece of work: the turn that was asked for with `again`."""

    cdef void on_late(self) noexcept:
        """The deadline has passed, and is no more."""


@cython.final
@cython.auto_pickle(False)
cdef class Readiness:
    """All watched sockets of a process.

    Args:
        others: of the connections that wait in Trio's way; see `Deadlines.waits`.
        clock: seconds, those of the deadlines: `trio.current_time`.
    """

    def __cinit__(self, others not None, clock=trio.current_time):
        cdef epoll_event event
        self.fd = self.alarm = self.loop = -1
        self.mean_gap = QUIET
        self.others = others
        self.clock = clock
        self.grow()
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        self.alarm = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        event.events = EPOLLIN | EPOLLET        # so it need not be emptied
        event.data.u64 = NOBODY
        if self.fd < 0 or epoll_ctl(self.fd, EPOLL_CTL_ADD, self.alarm, &event) < 0:
            code = errno
            self.close()
            raise OSError(code, os.strerror(code))

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

    def close(self):
        """Close its own descriptors; the tasks must have ended."""
        for fd in (self.fd, self.alarm):
            if fd >= 0:
                os.close(fd)
        self.fd = self.alarm = -1

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

    cdef int watch(self, Watched watched, int fd) except -1:
        cdef uint32_t place
        cdef epoll_event event
        if self.free_count:
            place = self.free_places[self.free_count - 1]
        else:
            if self.used == self.capacity:
                self.grow()
            place = self.used
            self.entries[place].generation = 0
        event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
        event.data.u64 = <uint64_t> self.entries[place].generation << 32 | place
        if epoll_ctl(self.fd, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        if self.free_count:
            self.free_count -= 1
        else:
            self.used += 1
        Py_INCREF(watched)
        self.entries[place].watched = <void *> watched
        self.deadlines[place] = NEVER
        self.watching += 1
        watched.fd = fd
        watched.place = place
        return 0

    cdef void forget(self, Watched watched, bint unregister) noexcept:
        cdef uint32_t place = watched.place
        cdef epoll_event unused
        if place == NOWHERE:
            return
        if unregister:
            epoll_ctl(self.fd, EPOLL_CTL_DEL, watched.fd, &unused)
        # Events of it that were collected already are told by their generation.
        self.entries[place].generation += 1
        self.entries[place].watched = NULL
        self.deadlines[place] = NEVER
        self.free_places[self.free_count] = place
        self.free_count += 1
        self.watching -= 1
        watched.place = NOWHERE
        watched.fd = -1
        Py_DECREF(watched)

    cdef void again(self, Watched watched) noexcept:
        if watched.waiting:
            return
        watched.waiting = True
        if self.last is None:
            self.first = watched
            if not self.turning:
                eventfd_write(self.alarm, 1)
        else:
            self.last.behind = watched
        self.last = watched

    cdef int look_at_clock(self) except -1:
        self.now = self.clock()
        return 0

    cdef bint turn(self) except -1:
        """Call those who are ready; true if there is more to do, but other tasks come first."""
        cdef epoll_event[BATCH] events
        cdef int count, number
        cdef double until = NEVER
        self.turning = True
        try:
            while True:
                count = epoll_wait(self.fd, events, BATCH, 0)
                if count < 0 and errno != EINTR:
                    raise OSError(errno, os.strerror(errno))
                if count <= 0 and self.first is None:
                    if self.linger():
                        continue
                    return False
                self.begin_batch(max(count, 1))
                if until == NEVER:
                    until = self.now + SLICE
                for number in range(count):
                    self.call(events[number].data.u64, events[number].events)
                self.call_queue()
                if self.now > until:
                    return True
        finally:
            self.turning = False

    cdef int begin_batch(self, int count) except -1:
        """A number of events has come, or some have waited for their turn."""
        cdef double before = self.now
        self.look_at_clock()
        self.batch += 1
        self.mean_gap += (min((self.now - before) / count, QUIET) - self.mean_gap) / 16
        return 0

    cdef bint linger(self) except -1:
        """Wait for the next event right here, as long as nothing else wakes Trio's loop.

        That loop costs more than handling an event does. And where events are many, having
        several at a time saves everybody's waking up, that of clients and servers too.
        """
        cdef bint come
        if self.loop < 0 or self.mean_gap > OFTEN or self.others_run():
            return False
        with nogil:
            come = only_first(self.fd, self.loop, LONGEST_WAIT)
            if come and self.under_way >= MANY and self.mean_gap < DENSE:
                sleep_for(min(self.under_way, LONGEST_GATHERING))
        return come

    cdef bint others_run(self) except -1:
        """Other tasks were woken since this was asked last, by Trio or from here."""
        cdef uint64_t waits = self.others.waits
        if waits == self.waits and not self.woken:
            return False
        self.waits = waits
        self.woken = False
        return True

    cdef int wake(self, task) except -1:
        self.woken = True
        trio.lowlevel.reschedule(task)
        return 0

    cdef void call(self, uint64_t key, uint32_t events) noexcept:
        """Pass events on, unless they are of somebody who was forgotten meanwhile."""
        cdef Entry *entry
        cdef Watched watched
        if key == NOBODY:
            return
        entry = &self.entries[<uint32_t> key]
        if entry.watched is not NULL and entry.generation == key >> 32:
            watched = <Watched> entry.watched
            watched.on_ready(events)

    cdef void call_queue(self) noexcept:
        """Step those who wait for their turn now; who asks for another one comes behind."""
        cdef Watched watched, last = self.last
        cdef int left = BATCH
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

    cdef bint sweep(self) except -1:
        """Call those who are late; true if there may be more, but other tasks come first."""
        cdef uint32_t place
        cdef int left = LATE
        cdef Watched watched
        self.look_at_clock()
        for place in range(self.used):
            if self.deadlines[place] > self.now:
                continue
            self.deadlines[place] = NEVER
            watched = <Watched> self.entries[place].watched
            watched.on_late()
            left -= 1
            if not left:
                return True
        return False

    async def watch_forever(self):
        """Call whoever is ready, until cancelled."""
        eventfd_write(self.alarm, 1)            # a first wait that ends at once
        await trio.lowlevel.wait_readable(self.fd)
        self.loop = watcher_of(self.fd)
        while True:
            await trio.lowlevel.wait_readable(self.fd)
            while self.turn():
                await trio.lowlevel.checkpoint()

    async def sweep_forever(self):
        """Call whoever is late, until cancelled."""
        while True:
            await trio.sleep(TICK)
            while self.sweep():
                await trio.lowlevel.checkpoint()


cdef int watcher_of(int fd) except -2:
    """The epoll that watches this descriptor: that of Trio's loop, which has no public name.

    The kernel tells, in proc(5). -1 if it doesn't.
    """
    for entry in Path("/proc/self/fdinfo").glob("*"):
        with contextlib.suppress(OSError):      # closed meanwhile
            if re.search(rf"^tfd:\s*{fd}\s", entry.read_text(), re.MULTILINE):
                return int(entry.name)
    return -1
