"""Offered rate against achieved throughput, in steps: the picture of the article.

Each peer gets a minute of load, in steps of a rising rate; what it achieves of each, and how much
of its core that takes, is plotted. wrk is paced by a schedule (paced.lua), which is an open loop as
long as one of the connections is free; beyond that, requests come late. Load and servers share
their cores, so that nobody gets above what `direct` achieves, and their own limit may come first.

  python -m benchmarks.macro.rates
  python -m benchmarks.macro.rates --rates 10000,20000 --seconds 60     # a minute for each
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.macro import plots
from benchmarks.macro.cpu import tree_seconds
from benchmarks.macro.load import NO_RESULT, LoadError, run_paced
from benchmarks.macro.options import chosen_peers, parser, positive, positives, run
from benchmarks.macro.results import Step
from benchmarks.macro.save import save
from benchmarks.macro.stage import open_stage
from benchmarks.macro.table import markdown, number
from benchmarks.macro.workloads import SMALL, Workload

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.macro.peers import Running

RATES = [2000, 5000, 10000, 15000, 20000, 25000]
CONNECTIONS = 128


def main() -> int:
    """Runs all steps; returns 1 if there were errors."""
    arguments = parser("benchmarks.macro.rates", __doc__)
    add = arguments.add_argument
    add("--rates", type=positives, default=RATES, help="requests per second")
    add("--seconds", type=positive, default=10, help="length of a step (default: 10)")
    options = arguments.parse_args()
    return run(lambda: _benchmark(options))


def _benchmark(options: argparse.Namespace) -> int:
    workload = Workload("GET", SMALL, CONNECTIONS)
    steps: list[Step] = []
    with open_stage(chosen_peers(options), [workload]) as stage:
        stage.facts["steps"] = f"{options.seconds} s each, {CONNECTIONS} connections"
        names = [peer.name for peer in stage.running]
        for rate in sorted(options.rates):
            for peer in stage.running:
                steps.append(_step(peer, workload, rate, options.seconds))
                print(f"  {peer.name}: {steps[-1].achieved:.0f} of {rate}/s", flush=True)
    steps.sort(key=lambda step: names.index(step.peer))
    title = "Offered rate against achieved throughput"
    save(options.save, "rates", title, stage.facts, render(steps), {"steps": steps})
    plots.draw_rates(options.save, steps)
    return 1 if any(step.errors or not step.achieved for step in steps) else 0


def _step(peer: Running, workload: Workload, rate: int, seconds: int) -> Step:
    before = tree_seconds(peer.pid) if peer.pid else 0.0
    try:
        load = run_paced(peer.port, workload.path, rate, workload.connections, seconds)
    except LoadError as error:
        print(f"{peer.name}: {error}", file=sys.stderr)
        load = NO_RESULT
    return Step(
        peer=peer.name,
        offered=rate,
        achieved=load.requests_per_second,
        errors=load.errors,
        busy=(tree_seconds(peer.pid) - before) / seconds if peer.pid else None,
    )


def render(steps: Sequence[Step]) -> str:
    """Returns the steps as a table in Markdown, a row for each peer and rate."""
    return markdown(
        ["peer", "offered/s", "achieved/s", "achieved", "of a core", "errors"],
        [
            [
                step.peer,
                str(step.offered),
                number(step.achieved, 0),
                f"{step.achieved / step.offered:.0%}",
                "-" if step.busy is None else f"{step.busy:.0%}",
                str(step.errors),
            ]
            for step in steps
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
