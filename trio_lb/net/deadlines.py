"""Deadlines of waits, without a cancel scope for each.

Entering and leaving a scope costs about as much as the wait that it bounds. Most waits end in
time, so each only notes when it has to, and one task looks every so often for those that are late
and wakes them. That makes deadlines late by up to `TICK`, which is far below the shortest one that
a profile would sensibly have.
"""

from __future__ import annotations

import math
from typing import Never, Protocol

import trio

#: Seconds between two looks.
TICK = 0.1

NEVER = math.inf


class Waiter(Protocol):
    """Something whose waits have deadlines; `NEVER` while there is no wait."""

    read_by: float
    write_by: float

    def wake(self) -> None:
        """Have the waits under way look at their deadlines."""


class Deadlines:
    """All waiters of a process; somebody's nursery must run `watch_forever`."""

    def __init__(self) -> None:
        self._waiters: set[Waiter] = set()

    def __len__(self) -> int:
        return len(self._waiters)

    def add(self, waiter: Waiter) -> None:
        """Look after a waiter until it is discarded."""
        self._waiters.add(waiter)

    def discard(self, waiter: Waiter) -> None:
        """Look after it no more; it need not be known."""
        self._waiters.discard(waiter)

    async def watch_forever(self) -> Never:
        """Wake who is late."""
        while True:
            await trio.sleep(TICK)
            now = trio.current_time()
            for waiter in tuple(self._waiters):
                if waiter.read_by <= now or waiter.write_by <= now:
                    waiter.wake()
