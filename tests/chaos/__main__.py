"""Checked chaos: `python -m tests.chaos --seconds 3600 --seed 1`.

Real processes, harm of all kinds to them, and a judge for every answer: see docs/reliability.md.
Ends with exit code 1 if anything was wrong, and says what, with all that is needed to look into it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

import trio

from tests.chaos.runner import PHASES, SHORT, Report, run_lap


def main() -> None:
    parser = argparse.ArgumentParser(description="Checked chaos over a balancer.")
    parser.add_argument("--seconds", type=float, default=3600, help="of all (3600)")
    parser.add_argument("--phase", type=float, default=12, help="seconds of a phase (12)")
    parser.add_argument("--seed", type=int, default=None, help="a number; by default any")
    parser.add_argument("--path", choices=["fast", "slow"], help="by default both in turn")
    parser.add_argument("--short", action="store_true", help="the phases of a test run")
    parser.add_argument("--only", help="phases whose name has this in it")
    options = parser.parse_args()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    phases = [each for each in (SHORT if options.short else PHASES)
              if not options.only or options.only in each.name]  # fmt: skip
    paths = [options.path] if options.path else ["fast", "slow"]
    report, lap, end = Report(), 0, time.monotonic() + options.seconds
    print(f"seed {seed}", flush=True)
    while time.monotonic() < end:
        for path in paths:
            before = len(report.wrong)
            trio.run(run_lap, f"{seed}-{lap}", path == "fast", phases, options.phase, report, _say)
            for text in report.wrong[before:]:
                print(f"\nWRONG {text}", flush=True)
        lap += 1
    requests = report.outcomes.total()
    print(f"seed {seed}: {requests} requests, {dict(report.outcomes)}")
    print(f"harm: {dict(report.harm)}; wrong: {len(report.wrong)}")
    sys.exit(bool(report.wrong))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
