"""Each algorithm in a few lines of plain Python: what the compiled one must do, pick by pick.

A model is told who is eligible; it knows nothing of maxima, states and tried slots.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from operator import add

HALF_LIFE_MS = 2048
PENALTY_MS = 512
TOLERANCE = 1.125
TURN_SCALE = 65536


@dataclass
class ModelServer:
    weight: int
    connections: int = 0
    average_us: float | None = None
    sampled_ms: int = 0
    picked_ms: int = 0
    penalty: float = 0.0
    charged_ms: int = 0

    def failed(
        self, now_ms: int, micros: float, others: list[ModelServer], *, answered: bool
    ) -> None:
        """A failure, or an answer that says so; `others` are alive."""
        known = [each.average_us for each in others if each.average_us is not None]
        usual = reduce(add, known) / len(known) if known else 0.0
        charge = max(usual - micros, 0.0) / (2000 * PENALTY_MS)
        charged = max(self.charged(now_ms) + charge, 1 / 64)
        self.penalty, self.charged_ms = ctypes.c_float(charged).value, now_ms
        if self.average_us is not None:
            self.answered(now_ms, max(micros, usual, self.average_us))
            if not answered:
                self.average_us = max(self.average_us, ctypes.c_float(usual).value)

    def charged(self, now_ms: int) -> float:
        """Connections that it is charged."""
        age_ms = (now_ms // 16 - self.charged_ms // 16) * 16
        return self.penalty and self.penalty * decay(age_ms * HALF_LIFE_MS // PENALTY_MS)

    def answered(self, now_ms: int, micros: float) -> None:
        if self.average_us is None:
            average = micros
        elif now_ms == self.sampled_ms:
            return
        else:
            kept = decay(now_ms - self.sampled_ms)
            average = kept * self.average_us + (1.0 - kept) * micros
        self.average_us = ctypes.c_float(average).value
        self.sampled_ms = now_ms


def decay(age_ms: int) -> float:
    halvings, rest = divmod(min(age_ms, 62 * HALF_LIFE_MS), HALF_LIFE_MS)
    return float((1 - rest / (2 * HALF_LIFE_MS)) * 2.0**-halvings)


@dataclass
class RoundRobinModel:
    servers: list[ModelServer]
    cursor: int = -1

    def choose(self, eligible: list[int], now_ms: int) -> int:
        self.cursor = self.best(self.in_turn(eligible), now_ms)
        return self.cursor

    def in_turn(self, eligible: list[int]) -> list[int]:
        """Those after the last picked one first."""
        return sorted(eligible, key=lambda slot: (slot <= self.cursor, slot))

    def best(self, in_turn: list[int], now_ms: int) -> int:
        return in_turn[0]


@dataclass
class WeightedRoundRobinModel(RoundRobinModel):
    credit: dict[int, int] = field(default_factory=dict)
    whole: dict[int, int] = field(default_factory=dict)

    def choose(self, eligible: list[int], now_ms: int) -> int:
        whole = sum(self.servers[slot].weight for slot in eligible) * TURN_SCALE
        for slot in eligible:
            scale = whole / self.whole.get(slot, whole)
            converted = round(self.credit.get(slot, 0) * scale)
            self.credit[slot] = converted + self.servers[slot].weight * TURN_SCALE
            self.whole[slot] = whole
        best = max(eligible, key=lambda slot: self.credit[slot])
        self.credit[best] -= whole
        return best


def parts(server: ModelServer, now_ms: int) -> int:
    """Connections with one more, in parts of 65536, those that are charged rounded down."""
    return (server.connections + 1) * 65536 + int(server.charged(now_ms) * 65536)


class LeastConnectionsModel(RoundRobinModel):
    def best(self, in_turn: list[int], now_ms: int) -> int:
        return min(in_turn, key=lambda slot: parts(self.servers[slot], now_ms))


class WeightedLeastConnectionsModel(RoundRobinModel):
    def best(self, in_turn: list[int], now_ms: int) -> int:
        return min(in_turn, key=lambda slot: self.load(self.servers[slot], now_ms))

    def load(self, server: ModelServer, now_ms: int) -> Fraction:
        return Fraction(parts(server, now_ms), server.weight)


class WeightedLeastResponseTimeModel(RoundRobinModel):
    def best(self, in_turn: list[int], now_ms: int) -> int:
        averages = [self.servers[slot].average_us for slot in sorted(in_turn)]
        known = [average for average in averages if average is not None]
        others = reduce(add, known) / len(known) if known else 1.0  # sum() would be more exact
        scores = {slot: self.score(self.servers[slot], now_ms, others) for slot in in_turn}
        best = next(s for s in in_turn if scores[s] <= min(scores.values()) * TOLERANCE)
        self.servers[best].picked_ms = now_ms
        return best

    def score(self, server: ModelServer, now_ms: int, others: float) -> float:
        connections = server.connections + server.charged(now_ms)
        if server.average_us is None:
            average = others if connections else 0.0
        else:
            idle_ms = now_ms - max(server.sampled_ms, server.picked_ms)
            average = server.average_us * decay(idle_ms)
        return average * (connections + 1) / self.weight(server)

    def weight(self, server: ModelServer) -> int:
        return server.weight


class LeastResponseTimeModel(WeightedLeastResponseTimeModel):
    def weight(self, server: ModelServer) -> int:
        return 1
