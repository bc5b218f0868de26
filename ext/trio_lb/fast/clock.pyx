"""The clock by which deadlines are judged, which knows when the event loop stood still.

A stopped process, a suspended machine, a call that blocks the loop: what comes meanwhile is seen
late, and nobody gets an answer. That is no peer's fault. Two rules hold wherever a peer has to do
something within some time:

- Take the time, then all that has come by then, and only then judge deadlines, by that time: see
  `tick`.
- Time in which the loop stood still counts for nobody: all deadlines move by it. Peers that had
  to wait for us need the rest of their time, and not only what is in our buffers already.

Whoever keeps deadlines looks at this clock every TICK, so two looks that are more than LATE apart
say that the loop stood still, for all of that time but a tick.
"""

cimport cython

import trio

TICK = 0.1                      # far below the shortest deadline that makes sense
TICK_SECONDS = TICK             # for Python
TICK_SECONDS = TICK             # for Python

cdef double LATE = 2 * TICK


@cython.final
@cython.auto_pickle(False)
cdef class LoopClock:
    """The clock of an event loop.

    Args:
        current_time: seconds; None: Trio's, of the run in which this is made.

    Attributes:
        stood_still: seconds for which the loop stood still, as far as is known.
    """

    def __cinit__(self, current_time=None):
        self.current_time = current_time or trio.lowlevel.current_clock().current_time
        self.monitors = []

    def __call__(self):
        """The time, seconds."""
        return self.look()

    def lived(self):
        """The time without that in which the loop stood still: for how long a peer had to wait
        is the difference of two such times."""
        cdef double now = self.look()
        return now - self.stood_still

    def at(self, double lived):
        """What the clock shows at such a time, as far as is known now."""
        return lived + self.stood_still

    def join(self, shift):
        """Keep deadlines, and look at the clock every tick from now on, until `leave`.

        Args:
            shift: called with the seconds for which the loop stood still.
        """
        if not self.monitors:
            self.looked = self.current_time()
        self.monitors.append(shift)

    def leave(self, shift):
        """Keep no deadlines any more."""
        self.monitors.remove(shift)

    async def tick(self):
        """Wait for the next look at the deadlines.

        Returns:
            The time by which to judge them: waits for what had come by then have ended.
        """
        cdef double due
        await trio.sleep(TICK)
        due = self.look()
        # In the next turn the loop asks what has come, and whom that is for has run by the next.
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        return due

    cdef double look(self) except? -1.0:
        cdef double now = self.current_time(), still = now - self.looked - TICK
        self.looked = now
        if self.monitors and still > LATE - TICK:
            self.stood_still += still
            for shift in self.monitors:
                shift(still)
        return now
