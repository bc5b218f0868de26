"""When a server is checked next. Pure, one schedule per server.

A server that is alive is checked at its interval. One that went down is checked at once and then
after growing pauses, up to the interval, as most were only restarted. If it comes up and goes down
again within an interval, the pauses continue where they were: a server that passes its checks and
fails its requests must not be marked up five times a second.
"""

from __future__ import annotations

from typing import Final

#: Seconds from one check to the next, from the moment when the server went down.
PAUSES: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)


class Schedule:
    """The pauses of one server.

    Args:
        interval: between two checks while it is alive, in seconds; no pause is longer.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._step = 0
        self._back_at: float | None = None

    def went_out(self, now: float, *, checked: bool) -> float:
        """It went down: seconds until its next check.

        Args:
            now: on any monotonic clock, in seconds.
            checked: it was its check that failed, just now.
        """
        back_at, self._back_at = self._back_at, None
        if back_at is None or now - back_at > self._interval:
            self._step = 1 if checked else 0
        else:
            self._step += 1
        return self._pause()

    def still_out(self) -> float:
        """It was checked and stays down: seconds until its next check."""
        self._step += 1
        return self._pause()

    def came_back(self, now: float) -> None:
        """It is alive again."""
        self._back_at = now

    def _pause(self) -> float:
        longest = self._interval
        return min(PAUSES[self._step], longest) if self._step < len(PAUSES) else longest
