"""Readiness by an epoll of our own, under one Trio task.

Trio's own wait costs an `epoll_ctl` and a task switch. Here sockets are registered once, for both
directions and edge-triggered, and one task waits for that epoll's descriptor. It takes events in
batches, and lets other tasks have their turn between them.

While events come all the time, `watch_forever` waits for the next one by itself, if `Waits` allows.
In long turns it does so by one system call, which brings the events as well: Trio's epoll is one of
its own sockets then. In others it waits first, for either epoll, and fetches the events after.
"""

cimport cython
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint32_t, uint64_t


import os

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
    /* Wait until one of two is readable; true if only the first one is. */
    static inline int tlb_only_first(int first, int second, int milliseconds) {
        struct pollfd both[2] = {{.fd = first, .events = POLLIN}, {.fd = second, .events = POLLIN}};
        return poll(both, 2, milliseconds) == 1 && both[0].revents;
    }
    /* The system may let a thread sleep 50 microseconds longer than it asks; this one by 1 ns. */
    static inline void tlb_sleep_exactly(void) {
        prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    }
    """
    bint only_first "tlb_only_first"(int first, int second, int milliseconds)
    void sleep_exactly "tlb_sleep_exactly"()

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int initval, int flags)
    int eventfd_write(int fd, uint64_t value)


cdef enum:
    BATCH = 64                  # events between two looks at the clock
    # Sockets up to which Trio's epoll lets go of ours for a while. To take it back, the kernel
    # looks at each of them, in search of a circle: 75 ns each, up to 50 times a second.
    FEW = 1000

#: Seconds of calls after which other tasks get their turn if they want one; and if not.
cdef double SLICE = 0.001
cdef double LONGEST_TURN = 0.05
#: A turn as long as this is long, and for a while others are expected to be (seconds). In those
#: Trio's epoll is joined to ours; not more often, as the kernel looks at each socket of that one.
cdef double LONG_TURN = 0.02
cdef double EXPECTED = 0.1

cdef uint64_t NOBODY = <uint64_t> -1    # the alarm's key
cdef uint64_t TRIO = <uint64_t> -2      # that of Trio's epoll


@cython.final
@cython.auto_pickle(False)
cdef class Epoll(Readiness):
    """All watched sockets of a process."""

    def __cinit__(self, clock=None):
        cdef epoll_event event
        self.fd = self.alarm = -1
        self.waits = Waits(self.clock)
        self.joined_at = -NEVER
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        self.alarm = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        event.events = EPOLLIN | EPOLLET        # so it need not be emptied
        event.data.u64 = NOBODY
        if self.fd < 0 or self.alarm < 0 or epoll_ctl(
                self.fd, EPOLL_CTL_ADD, self.alarm, &event) < 0:
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

    cdef void unregister(self, int fd) noexcept:
        cdef epoll_event unused
        epoll_ctl(self.fd, EPOLL_CTL_DEL, fd, &unused)

    cdef void ring(self) noexcept:
        eventfd_write(self.alarm, 1)

    cdef int take_batch(self, int milliseconds) except -1:
        cdef epoll_event[BATCH] events
        cdef int number, count
        if milliseconds:
            with nogil:
                count = epoll_wait(self.fd, events, BATCH, milliseconds)
        else:
            count = epoll_wait(self.fd, events, BATCH, 0)
        if count < 0 and errno != EINTR:
            raise OSError(errno, os.strerror(errno))
        if count > 0 or self.first is not None:
            self.begin_batch(max(count, 1))
            for number in range(count):
                if events[number].data.u64 == TRIO:
                    self.waits.hear()
                elif events[number].data.u64 != NOBODY:
                    pass_on(self, events[number].data.u64, events[number].events)
            if self.first is not None:
                self.call_queue()
        return max(count, 0)

    cdef bint catch_up(self) except -1:
        cdef bint all_of_them
        self.turning = True
        try:
            all_of_them = self.take_batch(0) < BATCH
            if self.first is not None:
                self.ring()
            return all_of_them
        finally:
            self.turning = False

    cdef int turn(self) except -1:
        cdef int count, milliseconds = 0
        cdef uint64_t batch
        cdef double until = NEVER, latest = NEVER
        self.turning = True
        try:
            while True:
                batch = self.batch
                count = self.take_batch(milliseconds)
                if self.batch != batch:
                    if until == NEVER:
                        until = self.now + SLICE
                        latest = self.now + LONGEST_TURN
                    elif self.now > until:
                        if self.now > latest or self.waits.others_come_first(self.now):
                            break
                        until = self.now + SLICE
                        if self.watching <= FEW:
                            self.stay_away()
                elif milliseconds:
                    break               # nobody has come in that time
                milliseconds = 0
                # Fewer than there is room for were all there were; but where they are many, more
                # have come meanwhile, and those are taken before others are let gather.
                if count == BATCH or self.first is not None or count > 0 and self.waits.gathering(
                        self.under_way, self.usual_wait):
                    continue
                if self.joined:
                    milliseconds = <int> (1000 * self.waits.allowed(self.now))
                    if not milliseconds:
                        break
                elif not self.wait():
                    break
            if self.first is not None:
                self.ring()
            return 0
        finally:
            self.come_back(latest - LONGEST_TURN)
            self.turning = False

    cdef int stay_away(self) except -1:
        """Trio's epoll watches ours no more in this turn, and so ours may watch that one."""
        cdef epoll_event event
        self.waits.stay_away()
        if not self.joined and self.waits.fd >= 0 and self.now < self.long_turns_until \
                and self.now - self.joined_at >= LONG_TURN:
            event.events = EPOLLIN
            event.data.u64 = TRIO
            self.joined = epoll_ctl(self.fd, EPOLL_CTL_ADD, self.waits.fd, &event) == 0
            self.joined_at = self.now
        return 0

    cdef void come_back(self, double began) noexcept:
        if self.joined:
            self.joined = False
            self.unregister(self.waits.fd)
        if self.now - began >= LONG_TURN:
            self.long_turns_until = self.now + EXPECTED
        self.waits.let_go()

    cdef int begin_batch(self, int count) except -1:
        """A number of events has come, or some have waited for their turn."""
        cdef double before = self.now
        self.look_at_clock()
        self.batch += 1
        self.waits.came(count, self.now - before)
        return 0

    cdef bint wait(self) except -1:
        """Wait for the next event right here, if that may be; true if one has come."""
        cdef double left = self.waits.allowed(self.now), first
        if left == 0.0:
            return False
        with nogil:
            first = self.waits.gathering(self.under_way, self.usual_wait)
            # Having several at a time saves everybody's waking up, that of clients and servers too.
            if first and readable_within(self.waits.fd, min(first, left)):
                return False
            return only_first(self.fd, self.waits.fd, <int> (1000 * left))

    async def watch_forever(self):
        """Call whoever is ready, until cancelled."""
        eventfd_write(self.alarm, 1)            # a first wait that ends at once
        await trio.lowlevel.wait_readable(self.fd)
        sleep_exactly()
        if (problem := await self.waits.enter(self.fd)) is not None:
            log.debug("no waiting outside of Trio's loop: %s", problem)
        try:
            while True:
                await trio.lowlevel.wait_readable(self.fd)
                self.turn()
        finally:
            self.waits.leave()
