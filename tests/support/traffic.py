"""Simulated clients and servers around a selection, in virtual time."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.fast.table import Selection, Table


@dataclass
class Traffic:
    """A number of clients, each sending its next request when the last one was answered.

    `service(slot, started_s)` says how long a server takes for a request, in seconds; `status(slot,
    started_s)` with which status it answers.
    """

    table: Table
    selection: Selection
    clients: int
    service: Callable[[int, float], float]
    status: Callable[[int, float], int] = lambda slot, started: 200
    now: float = 0.0
    most_active: Counter[int] = field(default_factory=Counter)
    _answers: list[tuple[float, int, int, float]] = field(default_factory=list)
    _sent: int = 0

    def run(self, seconds: float) -> Counter[int]:
        """Go on for so long; how many requests each server got."""
        picks: Counter[int] = Counter()
        end = self.now + seconds
        while len(self._answers) < self.clients:
            self._send(picks)
        while self._answers[0][0] < end:
            self.now, _, slot, took = heapq.heappop(self._answers)
            status = self.status(slot, self.now - took)
            self.table.answered(slot, self.now, took, status)
            self.table.release(slot)
            self._send(picks)
        self.now = end
        return picks

    def _send(self, picks: Counter[int]) -> None:
        slot = self.selection.pick(self.now)
        assert slot is not None
        picks[slot] += 1
        self._sent += 1
        self.most_active[slot] = max(self.most_active[slot], self.table.connections(slot))
        took = self.service(slot, self.now)
        heapq.heappush(self._answers, (self.now + took, self._sent, slot, took))
