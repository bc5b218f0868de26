"""The figures that trio-lb is to reach, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from benchmarks.macro.results import REFERENCE
from benchmarks.macro.table import markdown, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.macro.results import Cell

#: Who is to reach them.
OURS = "trio-lb"

#: The most that a load may cost, as a ratio to the reference's CPU time in the same round.
COST = {
    "32B@1": 1.3,
    "32B@64": 0.95,
    "32B@512": 0.8,
    "16KiB@1": 1.3,
    "16KiB@64": 1.0,
    "16KiB@512": 0.85,
    "POST@64": 1.0,
    "chunked@64": 1.0,
    "1MiB@16": 0.7,
    "10MiB@16": 0.7,
}

#: Loads with latencies no worse than the reference's.
LATENCY = ("32B@64", "16KiB@64", "POST@64", "chunked@64")


@dataclass(frozen=True)
class Verdict:
    """One figure: a ratio to the reference, and the most that it may be."""

    workload: str
    figure: Literal["CPU", "p50", "p99"]
    most: float
    ratio: float | None  # None: not measured

    @property
    def reached(self) -> bool:
        """True if it is as good as it should be, to the two digits that are told."""
        return self.ratio is not None and round(self.ratio, 2) <= self.most


def judge(cells: Sequence[Cell]) -> list[Verdict]:
    """Returns a verdict for each goal whose load was measured."""
    found = {(cell.workload.name, cell.peer): cell for cell in cells}
    verdicts = []
    for name, most in COST.items():
        ours = found.get((name, OURS))
        if ours is None or (name, REFERENCE) not in found:
            continue
        verdicts.append(Verdict(name, "CPU", most, ours.ratio))
        if name in LATENCY:
            verdicts.append(Verdict(name, "p50", 1.0, ours.p50_ratio))
            verdicts.append(Verdict(name, "p99", 1.0, ours.p99_ratio))
    return verdicts


def render(verdicts: Sequence[Verdict]) -> str:
    """Returns the verdicts as a table in Markdown."""
    return markdown(
        ["load", "figure", f"{OURS} × {REFERENCE}", "at most", "reached"],
        [
            [
                verdict.workload,
                verdict.figure,
                number(verdict.ratio, 2),
                number(verdict.most, 2),
                "yes" if verdict.reached else "no",
            ]
            for verdict in verdicts
        ],
    )
