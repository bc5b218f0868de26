"""CPU time per request, latency and memory of whole balancers, side by side.

All peers run at the same time before the same servers, and get the same load in turn, in rounds
whose order rotates. The balancers share one core, load and servers have the others. CPU time is
that of the balancer's processes, user and system; latencies are those of a closed loop.

  python -m benchmarks.macro                                # a quarter of an hour
  python -m benchmarks.macro --rounds 1 --seconds 1         # a look; --workloads for parts of it
  python -m benchmarks.macro --save docs/benchmarks         # keep it
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from benchmarks.macro import goals, plots, table
from benchmarks.macro.cpu import tree_seconds
from benchmarks.macro.load import NO_RESULT, LoadError, run_closed
from benchmarks.macro.memory import tree_bytes
from benchmarks.macro.options import chosen_peers, parser, positive, run
from benchmarks.macro.results import Run, summarise
from benchmarks.macro.save import save
from benchmarks.macro.stage import open_stage
from benchmarks.macro.workloads import CLASS_LOADS, WORKLOADS, Workload

if TYPE_CHECKING:
    from benchmarks.macro.peers import Running


def main() -> int:
    """Runs the benchmark; returns 1 if some peer got no valid run under some load."""
    arguments = parser("benchmarks.macro", __doc__)
    add = arguments.add_argument
    add("--rounds", type=positive, default=3, help="runs of each peer under each load (default: 3)")
    add("--seconds", type=positive, default=3, help="length of a run (default: 3)")
    add("--workloads", type=_workloads, default=list(WORKLOADS.values()), metavar="NAME,...",
        help=f"of {','.join(WORKLOADS)}; besides, {','.join(CLASS_LOADS)}, "
        "and `classes`, which is all of these")  # fmt: skip
    options = arguments.parse_args()
    return run(lambda: _benchmark(options))


def _workloads(text: str) -> list[Workload]:
    if text == "classes":
        return list(CLASS_LOADS.values())
    known = {**WORKLOADS, **CLASS_LOADS}
    names = text.split(",")
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"no {name!r}; there are {', '.join(known)}")
    return [known[name] for name in names]


def _benchmark(options: argparse.Namespace) -> int:
    with open_stage(chosen_peers(options), options.workloads) as stage:
        stage.facts["runs"] = f"{options.rounds} rounds of {options.seconds} s, medians"
        runs = _measure(options, stage.running)
    cells = summarise(runs)
    text = f"{goals.render(goals.judge(cells))}\n{table.render(cells)}"
    title = "Whole balancers, side by side"
    save(options.save, "macro", title, stage.facts, text, {"runs": runs, "cells": cells})
    plots.draw_macro(options.save, cells)
    return 0 if cells and all(cell.valid_runs for cell in cells) else 1


def _measure(options: argparse.Namespace, running: list[Running]) -> list[Run]:
    """Returns all runs, sorted by load and peer."""
    workloads: list[Workload] = options.workloads
    total = options.rounds * len(workloads) * len(running)
    print(f"{total} runs of {options.seconds} s", flush=True)
    for peer in running:  # caches, pools and branches of the interpreter get warm
        for workload in {workload.kind: workload for workload in workloads}.values():
            _run(peer, workload, 1, 0)
    runs: list[Run] = []
    for round_number in range(1, options.rounds + 1):
        for number, workload in enumerate(workloads):
            start = (round_number + number) % max(1, len(running))
            for peer in running[start:] + running[:start]:
                runs.append(_run(peer, workload, options.seconds, round_number))
                print(f"  {len(runs)}/{total} {_line(runs[-1])}", flush=True)
    order = [peer.name for peer in running]  # rotating was for the measuring only
    runs.sort(key=lambda run: (workloads.index(run.workload), order.index(run.peer)))
    return runs


def _run(peer: Running, workload: Workload, seconds: int, round_number: int) -> Run:
    memory: list[int] = []

    def weigh() -> None:
        if peer.pid:
            memory.append(tree_bytes(peer.pid))

    before = tree_seconds(peer.pid) if peer.pid else 0.0
    try:
        load = run_closed(peer.port, workload, seconds, weigh)
    except LoadError as error:
        print(f"{peer.name}: {error}", file=sys.stderr)
        load = NO_RESULT
    return Run(
        peer=peer.name,
        workload=workload,
        round=round_number,
        load=load,
        cpu_s=tree_seconds(peer.pid) - before if peer.pid else None,
        memory=memory[0] if memory else None,
    )


def _line(run: Run) -> str:
    cost = "" if run.cost_us is None else f" {run.cost_us:.1f} µs/{run.workload.unit}"
    invalid = "" if run.valid else f" INVALID, {run.load.errors} errors"
    return f"{run.workload.name} {run.peer}:{cost} {run.load.requests} requests{invalid}"


if __name__ == "__main__":
    sys.exit(main())
