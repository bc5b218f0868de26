"""How a connection slot is taken and given back, one store at a time, in plain Python.

The steps are those of `ext/trio_lb/fast/table/block.pxd`. A generator stops after every one of
them, so that other processes can be put in between, or the process that it stands for can die
there.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap
    from collections.abc import Generator

    Steps = Generator[None, None, bool]

LINE = 64
HEADER, ROW_HEADER, HISTOGRAM, REASON = 2 * LINE, 3 * LINE, 16 * LINE, 4 * LINE
ROW, NUMBER = 24, 36  # first bits of the parts of `connections`
LARGEST = 2**28 - 1


class SteppedRow:
    """One process's row of a table, operated step by step."""

    def __init__(self, memory: mmap.mmap, capacity: int, rows: int, row: int) -> None:
        self.memory, self.row = memory, row
        self.per_server = -(-rows // 16) * LINE
        size = ROW_HEADER + capacity * (LINE + HISTOGRAM + self.per_server)
        self.counters = HEADER + capacity * (LINE + REASON) + row * size + ROW_HEADER
        self.sightings = self.counters + capacity * (LINE + HISTOGRAM)

    def load(self, kind: str, at: int) -> int:
        value: int = struct.unpack_from("=" + kind, self.memory, at)[0]
        return value

    def store(self, kind: str, at: int, value: int) -> None:
        struct.pack_into("=" + kind, self.memory, at, value)

    def limit(self, slot: int) -> int:
        return self.load("I", HEADER + slot * LINE + 4)

    def acquire(self, slot: int) -> Steps:
        """Steps to a connection slot; False when all are taken."""
        seen = self.load("Q", HEADER + slot * LINE + 16)
        if seen % 2**ROW >= self.limit(slot):
            return False
        return (yield from self._change(slot, 1, seen))

    def release(self, slot: int) -> Steps:
        """Steps out of a connection slot; False when none is held."""
        if not self.load("I", self.counters + slot * LINE):
            return False
        return (yield from self._change(slot, -1, self.load("Q", HEADER + slot * LINE + 16)))

    def _change(self, slot: int, n: int, seen: int) -> Steps:
        connections = HEADER + slot * LINE + 16
        held = self.counters + slot * LINE
        number = self.load("I", held + 8) // 2 % LARGEST + 1
        self.store("I", held + 8, number * 2 + (n < 0))
        yield
        while n < 0 or seen % 2**ROW < self.limit(slot):
            writer = seen >> ROW & 4095
            if writer != self.row:
                place = self.sightings + slot * self.per_server + 4 * writer
                self.store("I", place, seen >> NUMBER)
            yield
            if self.load("Q", connections) == seen:
                word = seen % 2**ROW + n | self.row << ROW | number << NUMBER
                self.store("Q", connections, word)
                yield
                self.store("Q", held, number << 32 | self.load("I", held) + n)
                return True
            seen = self.load("Q", connections)
        return False


def run(steps: Steps) -> bool:
    """Take all steps that are left; the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: bool = end.value
            return result
