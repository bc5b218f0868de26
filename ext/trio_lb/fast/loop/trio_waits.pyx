"""Readiness by Trio's own waits, wherever Trio runs.

A task waits for each direction of a socket that is expected, for one edge; in most cases it is
expected again before the task has told of it, and the task stays. So it costs what a wait costs in
Trio, and a task for each connection; for what it has over `_epoll`, see docs/profile.md.

Trio's waits tell that a socket is ready, and not of what: whether the peer has ended or broken the
connection is asked of poll(2), which changes nothing of the socket. (MSG_PEEK would take the error
away from who receives next, on Linux; it is for systems whose poll(2) knows of no end.)
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t

from trio_lb.fast.loop.readiness cimport (
    BROKEN, ENDED, Entry, entry_of, HUNG_UP, key_of, NOWHERE, pass_on, READABLE, Readiness, Watched,
    WRITABLE,
)
from trio_lb.fast.loop.sockets cimport at_end

import trio

cdef extern from "loop/system.h" nogil:
    struct pollfd:
        int fd
        short events, revents
    int poll(pollfd *sockets, unsigned int count, int milliseconds)
    short POLLIN, POLLOUT, POLLERR, POLLHUP, POLLRDHUP


@cython.final
@cython.auto_pickle(False)
cdef class TrioWaits(Readiness):
    """All watched sockets of a process."""

    cdef object nursery         # of the tasks that wait; None: nobody watches
    cdef object turn            # where `watch_forever` waits for somebody to wait for a turn

    def __cinit__(self):
        self.one_shot = True
        self.turn = trio.lowlevel.ParkingLot()

    def close(self):
        """Nothing is left to close when the tasks have ended."""

    cdef void unregister(self, uint32_t place, int fd) noexcept:
        self.disarm(place)

    cdef void ring(self) noexcept:
        self.turn.unpark()

    cdef void arm(self, uint32_t place, uint32_t events) noexcept:
        if place == NOWHERE:
            return
        self.entries[place].expected |= events
        if self.entries[place].expected & ~self.entries[place].awaited:
            self.start_waiting(place)

    cdef void disarm(self, uint32_t place) noexcept:
        cdef Entry *entry
        if place == NOWHERE:
            return
        entry = &self.entries[place]
        entry.expected = 0
        if entry.awaited:
            # The name means another purpose, but this is what it does: it ends the waits.
            trio.lowlevel.notify_closing((<Watched> entry.watched).fd)

    cdef int start_waiting(self, uint32_t place) except -1:
        """Have a task for each direction that is expected."""
        cdef Entry *entry = &self.entries[place]
        cdef uint32_t event, wanted = entry.expected & ~entry.awaited
        if self.nursery is None:
            return 0
        for event in (READABLE, WRITABLE):
            if wanted & event:
                entry.awaited |= event
                self.nursery.start_soon(
                    self._wait, key_of(self, place), (<Watched> entry.watched).fd, event)
        return 0

    async def _wait(self, uint64_t key, int fd, uint32_t event):
        """Wait for one direction of a socket, and tell of it, as long as it is expected."""
        cdef Entry *entry
        wait = trio.lowlevel.wait_readable if event == READABLE else trio.lowlevel.wait_writable
        while self.expects(key, event):
            try:
                await wait(fd)
            except trio.ClosedResourceError:
                continue        # it was forgotten, or nothing is expected any more
            except OSError:
                break           # no memory in the kernel: a deadline ends it
            self.tell(key, fd, event)
        entry = entry_of(self, key)
        if entry is not NULL:
            entry.awaited &= ~event

    cdef bint expects(self, uint64_t key, uint32_t event) noexcept:
        cdef Entry *entry = entry_of(self, key)
        return entry is not NULL and entry.expected & event

    cdef int tell(self, uint64_t key, int fd, uint32_t event) except -1:
        cdef uint32_t events
        if not self.expects(key, event):
            return 0
        events = look(fd, event)
        if not events:
            return 0            # it was used by somebody who knew by himself: wait on
        self.entries[<uint32_t> key].expected &= ~event
        self.look_at_clock()
        pass_on(self, key, events)
        return 0

    async def watch_forever(self):
        """Call whoever is ready, until cancelled."""
        cdef uint32_t place
        try:
            async with trio.open_nursery() as self.nursery:
                for place in range(self.used):
                    self.entries[place].awaited = 0
                    if self.entries[place].watched is not NULL:
                        self.start_waiting(place)
                while True:
                    if self.first is None:
                        await self.turn.park()
                    else:
                        await trio.lowlevel.checkpoint()
                    self.look_at_clock()
                    self.turning = True
                    self.call_queue()
                    self.turning = False
        finally:
            self.nursery = None


cdef uint32_t look(int fd, uint32_t expected) noexcept:
    """What is to be told of a socket for which these events are expected; 0: nothing now.

    Both directions are asked for apart: to macOS, POLLHUP is the end of the one that was asked for.
    """
    cdef pollfd[2] ways
    cdef uint32_t events = 0
    ways[0].fd = ways[1].fd = fd
    ways[0].events = POLLIN | POLLRDHUP
    ways[1].events = POLLOUT
    if poll(ways, 2, 0) <= 0:
        return 0
    if ways[0].revents & POLLIN:
        events |= READABLE
    if ways[1].revents & POLLOUT:
        events |= WRITABLE
    events &= expected
    if (ways[0].revents | ways[1].revents) & POLLERR:
        events |= BROKEN
    if ways[1].revents & POLLHUP:
        events |= HUNG_UP
    if ways[0].revents & (POLLHUP | POLLRDHUP):
        events |= ENDED
    elif not POLLRDHUP and ways[0].revents & POLLIN and at_end(fd):
        events |= ENDED
    return events
