"""Deadlines of waits, without a cancel scope for each.

Entering and leaving a scope costs about as much as the wait that it bounds. Most waits end in
time, so each only registers its deadline, and one task looks for expired ones every `TICK` and
wakes those waits. So deadlines are late by up to `TICK`, far below any sensible setting.

They are judged by the rules of `trio_lb.fast.clock`: after the events that came before them, and
without the time in which the loop stood still.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Never, Protocol

import trio

from trio_lb.fast.clock import TICK_SECONDS, LoopClock

if TYPE_CHECKING:
    from types import TracebackType

#: Seconds between two looks.
TICK: Final = TICK_SECONDS

NEVER: Final = math.inf

#: The deadline of a wait that is to end when it is woken.
AT_ONCE: Final = -math.inf

_clock: trio.lowlevel.RunVar[LoopClock] = trio.lowlevel.RunVar("trio_lb clock")


def loop_clock() -> LoopClock:
    """The clock of this run's event loop: it stands still for everybody at once."""
    try:
        return _clock.get()
    except LookupError:
        clock = LoopClock()
        _clock.set(clock)
        return clock


class Deadline:
    """When to give up something that takes several waits.

    Args:
        seconds: how long it may take; time in which the loop stands still does not count.
        since: when it began, on Trio's clock; now if None.
    """

    __slots__ = ("_clock", "_seconds", "_since", "_stood_still")

    def __init__(self, seconds: float, since: float | None = None) -> None:
        self._clock = loop_clock()
        now = self._clock()
        self._seconds = seconds
        self._since = now if since is None else since
        self._stood_still = self._clock.stood_still

    @property
    def since(self) -> float:
        """When it began, on Trio's clock; later by the time in which the loop stood still."""
        now = self._clock()
        return min(now, self._since + self._clock.stood_still - self._stood_still)

    @property
    def by(self) -> float:
        """On Trio's clock, as far as is known now: what a wait can be given."""
        return self.since + self._seconds


class Waiter(Protocol):
    """Something whose waits have deadlines; `NEVER` while there is no wait."""

    read_by: float
    write_by: float

    def wake(self) -> None:
        """Have the waits under way look at their deadlines."""


class Limit:
    """How long a block may take: made by `Deadlines.limit`."""

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self.read_by = loop_clock()() + seconds
        self.write_by = NEVER
        self._deadlines = deadlines
        self._scope = trio.CancelScope()

    def wake(self) -> None:
        self._scope.cancel()

    def __enter__(self) -> None:
        self._scope.__enter__()
        self._deadlines.add(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._deadlines.discard(self)
        return self._scope.__exit__(kind, exc, traceback)


class Deadlines:
    """All waits of a process; somebody's nursery must run `watch_forever`.

    Attributes:
        judged: who should have been ready by this time, and still waits, is late.
    """

    def __init__(self) -> None:
        self._waiters: dict[Waiter, int] = {}  # and for how many waits
        self.judged = -math.inf

    def __len__(self) -> int:
        """How many waiters there are."""
        return len(self._waiters)

    def add(self, waiter: Waiter) -> None:
        """Look after one more wait of a waiter, until `discard`."""
        self._waiters[waiter] = self._waiters.get(waiter, 0) + 1

    def discard(self, waiter: Waiter) -> None:
        """One of its waits has ended."""
        left = self._waiters[waiter] - 1
        if left:
            self._waiters[waiter] = left
        else:
            del self._waiters[waiter]

    def limit(self, seconds: float) -> Limit:
        """Cancel the block when it takes longer than this, and go on behind it.

        What the block waits for may be anything; see `Deadline` for the time.
        """
        return Limit(self, seconds)

    async def watch_forever(self) -> Never:
        """Wake the waits that are late."""
        clock = loop_clock()
        clock.join(self._shift)
        try:
            while True:
                self.judged = judged = await clock.tick()
                for waiter in tuple(self._waiters):
                    if waiter.read_by <= judged or waiter.write_by <= judged:
                        waiter.wake()
        finally:
            clock.leave(self._shift)

    def _shift(self, seconds: float) -> None:
        """The loop stood still for so long."""
        for waiter in self._waiters:
            waiter.read_by += seconds
            waiter.write_by += seconds
