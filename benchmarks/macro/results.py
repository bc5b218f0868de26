"""From single runs to medians and ratios."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.macro.workloads import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.macro.load import Load
    from benchmarks.macro.workloads import Workload

#: The peer to which all others are compared; variants to its variant with the same setting.
REFERENCE = "haproxy"

#: The relay in C that does as little as can be done.
FLOOR = "floor"


def base(peer: str) -> str:
    """The peer of which another is a variant with some setting: `trio-lb` of `trio-lb+json`."""
    return peer.partition("+")[0]


@dataclass(frozen=True)
class Step:
    """What a peer made of one offered rate; all rates are in requests per second."""

    peer: str
    offered: int
    achieved: float  # answers of any kind
    errors: int
    busy: float | None  # share of one core; None when there is no balancer


@dataclass(frozen=True)
class Run:
    """One run of a load through one peer."""

    peer: str
    workload: Workload
    round: int
    load: Load
    cpu_s: float | None  # of the balancer's processes; None when there is no balancer
    memory: int | None  # bytes resident in the middle of the run

    @property
    def valid(self) -> bool:
        """True if every request got a good answer."""
        return self.load.requests > 0 and not self.load.errors

    @property
    def cost_us(self) -> float | None:
        """CPU time in microseconds per request, or per MiB of bodies where they are large."""
        if self.cpu_s is None or not self.valid:
            return None
        if self.workload.unit == "request":
            return self.cpu_s * 1e6 / self.load.requests
        passed = self.load.bytes_read + self.load.requests * self.workload.sent
        return self.cpu_s * 1e6 / (passed / MIB)


@dataclass(frozen=True)
class Cell:
    """The medians over the valid runs of one peer under one load; None where there are none."""

    peer: str
    workload: Workload
    valid_runs: int
    runs: int
    errors: int  # of all runs, valid or not
    cost_us: float | None  # per request or per MiB
    ratio: float | None  # of cost_us to that of REFERENCE in the same round
    floor_ratio: float | None  # of cost_us to that of FLOOR in the same round
    plain_ratio: float | None  # of cost_us to that of the peer's own plain request, likewise
    p50_ms: float | None
    p99_ms: float | None
    p50_ratio: float | None  # likewise
    p99_ratio: float | None
    requests_per_second: float | None
    memory_mib: float | None


def summarise(runs: Sequence[Run]) -> list[Cell]:
    """Returns a cell for each load and peer, in the order in which they first came."""
    groups: dict[tuple[Workload, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.workload, run.peer), []).append(run)
    named = {(workload.name, peer): group for (workload, peer), group in groups.items()}

    def found(name: str | None, peer: str) -> list[Run]:
        return named.get((name, peer), []) if name else []

    def reference(workload: Workload, peer: str) -> list[Run]:
        """Of `trio-lb+2` it is `haproxy+2`, if that took part."""
        variant = REFERENCE + peer.removeprefix(base(peer))
        return found(workload.name, variant) or found(workload.name, REFERENCE)

    return [
        _cell(
            group,
            reference(workload, peer),
            found(workload.name, FLOOR),
            found(workload.like, base(peer)),
        )
        for (workload, peer), group in groups.items()
    ]


def _cell(runs: list[Run], reference: list[Run], floor: list[Run], plain: list[Run]) -> Cell:
    valid = [run for run in runs if run.valid]

    def ratio(figure: Callable[[Run], float | None], others: list[Run] = reference) -> float | None:
        theirs = {run.round: run for run in others if run.valid}
        pairs = [(run, theirs[run.round]) for run in valid if run.round in theirs]
        return _median(_ratio(figure(ours), figure(other)) for ours, other in pairs)

    return Cell(
        peer=runs[0].peer,
        workload=runs[0].workload,
        valid_runs=len(valid),
        runs=len(runs),
        errors=sum(run.load.errors for run in runs),
        cost_us=_median(run.cost_us for run in runs),
        ratio=ratio(lambda run: run.cost_us),
        floor_ratio=ratio(lambda run: run.cost_us, floor),
        plain_ratio=ratio(lambda run: run.cost_us, plain),
        p50_ms=_median(run.load.p50_s * 1e3 for run in valid),
        p99_ms=_median(run.load.p99_s * 1e3 for run in valid),
        p50_ratio=ratio(lambda run: run.load.p50_s),
        p99_ratio=ratio(lambda run: run.load.p99_s),
        requests_per_second=_median(run.load.requests_per_second for run in valid),
        memory_mib=_median(run.memory / MIB for run in valid if run.memory is not None),
    )


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
