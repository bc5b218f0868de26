"""Trio's loop, as seen by a task that would rather not go back to it (Linux).

A turn of that loop costs more than handling an event does. A task that can wait by itself may do
without it, as long as nobody else is kept waiting. Three things say so: an instrument of the loop
hears of other tasks that were scheduled, and of the time until which the loop had nothing to wait
for; and the loop's own epoll becomes readable when anything else happens, be it another thread's
call or a signal.
"""

cimport cython

import contextlib
import re
from pathlib import Path

import trio


@cython.final
@cython.auto_pickle(False)
cdef class TrioLoop:
    """The loop that the task which enters this runs in.

    Args:
        clock: seconds, that of this loop.
    """

    def __cinit__(self, clock not None):
        self.clock = clock
        self.fd = -1

    def enter(self, int fd):
        """Begin to listen, for the calling task, which has waited for `fd` in Trio's way."""
        self.task = trio.lowlevel.current_task()
        self.awaited = fd
        self.watches = self.scheduled = True
        self.fd = watcher_of(fd)
        trio.lowlevel.add_instrument(self)

    def leave(self):
        """Listen no more."""
        self.fd = -1
        trio.lowlevel.remove_instrument(self)

    def task_scheduled(self, task):
        """A hook of trio.abc.Instrument."""
        if task is not self.task:
            self.scheduled = True

    def before_io_wait(self, double timeout):
        """A hook of trio.abc.Instrument."""
        self.deadline = self.clock() + timeout

    cdef double leisure(self, double now) noexcept nogil:
        if self.fd < 0 or self.scheduled or now >= self.deadline:
            return 0.0
        return self.deadline - now

    cdef int stay_away(self) except -1:
        if self.watches:
            self.watches = False
            trio.lowlevel.notify_closing(self.awaited)      # nobody waits for it at this moment
        return 0

    cdef void let_go(self) noexcept:
        self.watches = True
        self.scheduled = False


cdef int watcher_of(int fd) except -2:
    """The epoll that watches this descriptor: that of Trio's loop, which has no public name.

    The kernel tells, in proc(5). -1 if it doesn't.
    """
    for entry in Path("/proc/self/fdinfo").glob("*"):
        with contextlib.suppress(OSError):      # closed meanwhile
            if re.search(rf"^tfd:\s*{fd}\s", entry.read_text(), re.MULTILINE):
                return int(entry.name)
    return -1
