"""From single runs to medians, ratios and a Markdown table."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: The peers to which CPU time is compared.
REFERENCES = ("haproxy", "bare_relay")


@dataclass(frozen=True)
class Run:
    """One run of the load through one peer."""

    peer: str
    connections: int
    body: int  # bytes
    round: int
    requests: int
    errors: int
    requests_per_second: float
    p50_s: float
    p99_s: float
    cpu_s: float | None  # of the balancer's processes; None when there is no balancer

    @property
    def valid(self) -> bool:
        """True if every request got a good answer."""
        return self.requests > 0 and not self.errors


@dataclass(frozen=True)
class Cell:
    """The medians over the valid runs of one peer under one load; None where there are none."""

    peer: str
    connections: int
    body: int
    valid_runs: int
    runs: int
    errors: int  # of all runs, valid or not
    cpu_us: float | None  # per request
    p50_ms: float | None
    p99_ms: float | None
    requests_per_second: float | None
    cpu_ratio: dict[str, float]  # to each of REFERENCES that was measured under the same load


def summarise(runs: Sequence[Run]) -> list[Cell]:
    """Returns a cell for each load and peer, in the order in which they first came."""
    loads: dict[tuple[int, int], dict[str, list[Run]]] = {}
    for run in runs:
        peers = loads.setdefault((run.connections, run.body), {})
        peers.setdefault(run.peer, []).append(run)
    cells = []
    for peers in loads.values():
        costs = {peer: _cpu_us(of_peer) for peer, of_peer in peers.items()}
        cells += [_cell(of_peer, costs) for of_peer in peers.values()]
    return cells


def _cell(runs: list[Run], costs: dict[str, float | None]) -> Cell:
    valid = [run for run in runs if run.valid]
    first = runs[0]
    cpu_us = costs[first.peer]
    ratios = {}
    for reference in REFERENCES:
        cost = costs.get(reference)
        if cpu_us is not None and cost:
            ratios[reference] = cpu_us / cost
    return Cell(
        peer=first.peer,
        connections=first.connections,
        body=first.body,
        valid_runs=len(valid),
        runs=len(runs),
        errors=sum(run.errors for run in runs),
        cpu_us=cpu_us,
        p50_ms=_median(valid, lambda run: run.p50_s * 1e3),
        p99_ms=_median(valid, lambda run: run.p99_s * 1e3),
        requests_per_second=_median(valid, lambda run: run.requests_per_second),
        cpu_ratio=ratios,
    )


def _cpu_us(runs: Iterable[Run]) -> float | None:
    """Returns the median CPU time per request in microseconds."""
    costs = [run.cpu_s / run.requests * 1e6 for run in runs if run.valid and run.cpu_s is not None]
    return median(costs) if costs else None


def _median(runs: Sequence[Run], value: Callable[[Run], float]) -> float | None:
    return median(map(value, runs)) if runs else None


def render(cells: Sequence[Cell]) -> str:
    """Returns the cells as a Markdown table, a block of rows for each load."""
    rows = [
        ["connections", "body", "peer", "CPU µs/request"]
        + [f"× {reference}" for reference in REFERENCES]
        + ["p50 ms", "p99 ms", "requests/s", "valid runs", "errors"]
    ]
    rows.append(["---:", "---:", "---"] + ["---:"] * (len(rows[0]) - 3))
    rows += [
        [
            str(cell.connections),
            size(cell.body),
            cell.peer,
            _number(cell.cpu_us, 1),
            *(_number(cell.cpu_ratio.get(reference), 2) for reference in REFERENCES),
            _number(cell.p50_ms, 2),
            _number(cell.p99_ms, 2),
            _number(cell.requests_per_second, 0),
            f"{cell.valid_runs}/{cell.runs}",
            str(cell.errors),
        ]
        for cell in cells
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def size(count: int) -> str:
    """Returns a number of bytes as people write it."""
    return f"{count // 1024} KiB" if count and count % 1024 == 0 else f"{count} B"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
