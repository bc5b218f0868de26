"""Readiness by an epoll of our own, under one Trio task (Linux).

Trio's own wait costs an `epoll_ctl` and a task switch. Here sockets are registered once, for both
directions and edge-triggered, and one task waits for that epoll's descriptor. It takes events in
batches, and lets other tasks have their turn between them.

While events come all the time, `watch_forever` waits for the next one by itself, and has Trio's
loop wake it up from that: waiting for the epoll of that loop as well, it comes back for whatever
else happens.
"""

cimport cython
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint32_t, uint64_t

from trio_lb._readiness cimport NEVER, pass_on, Readiness

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
    #include <sys/prctl.h>
    #include <time.h>
    /* Wait until one of two is readable; true if only the first one is. */
    static inline int tlb_only_first(int first, int second, int milliseconds) {
        struct pollfd both[2] = {{.fd = first, .events = POLLIN}, {.fd = second, .events = POLLIN}};
        return poll(both, 2, milliseconds) == 1 && both[0].revents;
    }
    static inline void tlb_sleep(double seconds) {
        struct timespec time = {0, seconds * 1e9};
        nanosleep(&time, NULL);
    }
    /* The system may let a thread sleep 50 microseconds longer than it asks; this one by 1 ns. */
    static inline void tlb_sleep_exactly(void) {
        prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    }
    """
    bint only_first "tlb_only_first"(int first, int second, int milliseconds)
    void sleep_for "tlb_sleep"(double seconds)
    void sleep_exactly "tlb_sleep_exactly"()

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int initval, int flags)
    int eventfd_write(int fd, uint64_t value)


cdef enum:
    BATCH = 64                  # events between two looks at the clock

#: Seconds of calls after which other tasks get their turn.
cdef double SLICE = 0.001

#: Events that come as often as this, in the mean, are waited for without Trio's loop. Seconds.
cdef double OFTEN = 0.001
cdef double QUIET = 0.016       # and longer gaps say no more than this

#: And at most for so long. Milliseconds; for less than its tick the kernel has to set a timer.
cdef int LONGEST_WAIT = 5

#: With so many requests under way, and events coming as often as this (seconds), the next ones are
#: let gather for a while: until, at this pace, two for each three of those requests have come (each
#: brings two or more), but at most for so long (seconds).
cdef enum:
    MANY = 8
cdef double DENSE = 0.00002
cdef double GATHERED = 2.0 / 3
cdef double LONGEST_GATHERING = 0.0004

cdef uint64_t NOBODY = <uint64_t> -1    # the alarm's key


@cython.final
@cython.auto_pickle(False)
cdef class Epoll(Readiness):
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
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        self.alarm = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        event.events = EPOLLIN | EPOLLET        # so it need not be emptied
        event.data.u64 = NOBODY
        if self.fd < 0 or epoll_ctl(self.fd, EPOLL_CTL_ADD, self.alarm, &event) < 0:
            code = errno
            self.close()
            raise OSError(code, os.strerror(code))

    def close(self):
        """Close its own descriptors; the tasks must have ended."""
        for fd in (self.fd, self.alarm):
            if fd >= 0:
                os.close(fd)
        self.fd = self.alarm = -1

    cdef int register(self, int fd, uint64_t key) except -1:
        cdef epoll_event event
        event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
        event.data.u64 = key
        if epoll_ctl(self.fd, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        return 0

    cdef void unregister(self, uint32_t place, int fd) noexcept:
        cdef epoll_event unused
        epoll_ctl(self.fd, EPOLL_CTL_DEL, fd, &unused)

    cdef void ring(self) noexcept:
        eventfd_write(self.alarm, 1)

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
                    if events[number].data.u64 != NOBODY:
                        pass_on(self, events[number].data.u64, events[number].events)
                if self.first is not None:
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
            if self.under_way >= MANY and self.mean_gap < DENSE:
                sleep_for(min(GATHERED * self.under_way * self.mean_gap, LONGEST_GATHERING))
            come = only_first(self.fd, self.loop, LONGEST_WAIT)
        return come

    cdef bint others_run(self) except -1:
        """Other tasks were woken since this was asked last, by Trio or from here."""
        cdef uint64_t waits = self.others.waits
        if waits == self.waits and not self.woken:
            return False
        self.waits = waits
        self.woken = False
        return True

    async def watch_forever(self):
        """Call whoever is ready, until cancelled."""
        eventfd_write(self.alarm, 1)            # a first wait that ends at once
        await trio.lowlevel.wait_readable(self.fd)
        self.loop = watcher_of(self.fd)
        sleep_exactly()
        while True:
            await trio.lowlevel.wait_readable(self.fd)
            while self.turn():
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
