"""Waiting outside of Trio's loop: may the task of our epoll do so, and how long (Linux)?

A turn of Trio's loop costs more than handling an event does. So while events come often, our task
waits for the next one by itself, as long as nobody else is kept waiting. Three things say so: an
instrument of the loop hears of tasks that were scheduled, and of the time until which the loop had
nothing to wait for; and the loop's own epoll becomes readable when anything else happens, be it
another thread's call or a signal.

None of this is promised by Trio. `enter` tries it all once; if anything is not as expected, our
task waits in Trio's way alone, which costs more, and changes nothing else.
"""

cimport cython

import contextlib
import re
import sys
from pathlib import Path

import trio

#: Events that come as often as this, in the mean, are waited for without Trio's loop. Seconds.
cdef double OFTEN = 0.001
cdef double QUIET = 0.016       # and longer gaps say no more than this

#: And at most for so long. For less than its tick the kernel has to set a timer. Seconds.
cdef double LONGEST_WAIT = 0.005

#: With so many requests under way, and events coming as often as this (seconds), the next ones are
#: let gather for a while: for a part of the time that servers take at present, which grows by a
#: third then, but at most for so long (seconds).
cdef enum:
    MANY = 8
cdef double DENSE = 0.00002
cdef double GATHERED = 1.0 / 4
cdef double LONGEST_GATHERING = 0.002


@cython.final
@cython.auto_pickle(False)
cdef class Waits:
    """Those of the task that enters this.

    Args:
        clock: seconds, that of Trio's loop.
    """

    def __cinit__(self, clock not None):
        self.clock = clock
        self.fd = -1
        self.mean_gap = QUIET

    async def enter(self, int fd):
        """Begin to listen to Trio's loop, for the calling task, which has waited for `fd` in it.

        Returns:
            Why this task can't wait by itself, or None.
        """
        self.task = trio.lowlevel.current_task()
        self.awaited = fd
        trio.lowlevel.add_instrument(self)
        try:
            problem = await self.try_out()
        except BaseException:
            self.leave()
            raise
        if problem is not None:
            self.fd = -1
        self.watches = self.scheduled = True
        return problem

    def leave(self):
        """Listen no more."""
        self.fd = -1
        trio.lowlevel.remove_instrument(self)

    def task_scheduled(self, task):
        """A hook of trio.abc.Instrument."""
        if task is self.task:
            self.heard = True
        else:
            self.scheduled = True

    def before_io_wait(self, double timeout):
        """A hook of trio.abc.Instrument."""
        self.deadline = self.clock() + timeout

    async def try_out(self):
        """Whether all is as this module takes it to be; what is not, or None."""
        if not within_trio_run():
            return "Trio runs as a guest, and its host would wait as well"
        self.fd = watcher_of(self.awaited)
        if self.fd < 0:
            return "the epoll of Trio's loop was not found in /proc/self/fdinfo"
        if readable_within(self.fd, 0.0):
            await trio.lowlevel.checkpoint()
        trio.lowlevel.current_trio_token().run_sync_soon(nothing)
        if not readable_within(self.fd, 0.0):
            return "the epoll of Trio's loop does not tell of calls to it"
        self.deadline = -NEVER
        self.heard = False
        await trio.lowlevel.checkpoint()
        if self.deadline == -NEVER or not self.heard:
            return "Trio's loop does not tell its instruments what it does"
        return None

    cdef double allowed(self, double now) noexcept nogil:
        if self.mean_gap > OFTEN:
            return 0.0
        return min(LONGEST_WAIT, self.leisure(now))

    cdef double gathering(self, int under_way, double usual_wait) noexcept nogil:
        if under_way < MANY or self.mean_gap >= DENSE:
            return 0.0
        return min(GATHERED * usual_wait, LONGEST_GATHERING)

    cdef bint others_come_first(self, double now) noexcept nogil:
        return self.leisure(now) == 0.0 or readable_within(self.fd, 0.0)

    cdef double leisure(self, double now) noexcept nogil:
        if self.fd < 0 or self.scheduled or now >= self.deadline:
            return 0.0
        return self.deadline - now

    cdef int came(self, int count, double seconds) except -1:
        self.mean_gap += (min(seconds / count, QUIET) - self.mean_gap) / 16
        return 0

    cdef int stay_away(self) except -1:
        if self.watches:
            self.watches = False
            trio.lowlevel.notify_closing(self.awaited)      # nobody waits for it at this moment
        return 0

    cdef void hear(self) noexcept:
        self.scheduled = True

    cdef void let_go(self) noexcept:
        self.watches = True
        self.scheduled = False


def nothing():
    """Called by Trio's loop, which has to wake up for it."""


cdef bint within_trio_run() except -1:
    """Not in guest mode, where the loop belongs to somebody else."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code is trio.run.__code__:
            return True
        frame = frame.f_back
    return False


cdef int watcher_of(int fd) except -2:
    """The epoll that watches this descriptor: that of Trio's loop, which has no public name.

    The kernel tells, in proc(5). -1 if it doesn't.
    """
    for entry in Path("/proc/self/fdinfo").glob("*"):
        with contextlib.suppress(OSError):      # closed meanwhile
            if re.search(rf"^tfd:\s*{fd}\s", entry.read_text(), re.MULTILINE):
                return int(entry.name)
    return -1
