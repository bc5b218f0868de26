"""CPU time per request and latency of whole balancers, side by side.

All peers run at the same time before the same servers, and get the same load in turn, in rounds
whose order rotates. The balancers share one core, load and servers have the others. CPU time is
that of the balancer's processes, user and system; latencies are those of a closed loop.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from benchmarks.macro import peers
from benchmarks.macro.cpu import tree_seconds
from benchmarks.macro.load import Load, LoadError, run_wrk
from benchmarks.macro.table import Cell, Run, render, size, summarise

RESULTS = peers.ROOT / "benchmarks" / "results"


def main() -> int:
    """Runs the benchmark; returns 1 if a load got no valid run."""
    options = _options()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        if shutil.which("wrk") is None:
            raise peers.PeerError("wrk is not installed")
        with tempfile.TemporaryDirectory(prefix="trio-lb-bench-") as directory:
            return _benchmark(options, Path(directory))
    except KeyboardInterrupt:
        print("interrupted; everything that was started has ended", file=sys.stderr)
        return 130
    except peers.PeerError as error:
        print(f"can't measure: {error}", file=sys.stderr)
        return 1


def _terminated(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.macro", description=__doc__)
    add = parser.add_argument
    add(
        "--rounds", type=_positive, default=3, help="runs of each peer under each load (default: 3)"
    )
    add("--seconds", type=_positive, default=4, help="length of a run (default: 4)")
    add("--connections", type=_numbers, default=[1, 64, 512], help="default: 1,64,512")
    add("--bodies", type=_numbers, default=[32, 16384], help="bytes; default: 32,16384")
    add("--peers", type=_names, default=list(peers.PEERS), help=f"of {','.join(peers.PEERS)}")
    add("--quick", action="store_true", help="one round of 1 s, 64 connections, 32 bytes")
    add("--json", type=Path, metavar="FILE", help="save the JSON there too")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
        options.connections, options.bodies = [64], [32]
    return options


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _numbers(text: str) -> list[int]:
    return [_positive(part) for part in text.split(",")]


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in peers.PEERS:
            raise argparse.ArgumentTypeError(
                f"no peer {name!r}; there are {', '.join(peers.PEERS)}"
            )
    return names


def _benchmark(options: argparse.Namespace, directory: Path) -> int:
    balancer_cores, other_cores = _share_cores()
    os.sched_setaffinity(0, other_cores)  # wrk inherits it
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        (directory / "servers").mkdir()
        ports = stack.enter_context(
            peers.servers(directory / "servers", options.bodies, other_cores)
        )
        running = []
        for name in options.peers:
            (directory / name).mkdir()
            site = peers.Site(directory / name, peers.free_port(), ports)
            try:
                running.append(
                    stack.enter_context(peers.peer(name, site, options.bodies, balancer_cores))
                )
            except peers.PeerError as error:
                skipped[name] = str(error)
                print(f"skipped {name}: {error}", flush=True)
        runs = _measure(options, running)
    cells = summarise(runs)
    facts = _facts(options, [peer.name for peer in running], balancer_cores, other_cores)
    _report(options, facts, skipped, runs, cells)
    return 0 if runs and all(cell.valid_runs for cell in cells) else 1


def _share_cores() -> tuple[set[int], set[int]]:
    """Returns the cores of the balancers, and those of load and servers."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        print("only one core: load and balancers share it, latencies mean little", flush=True)
    return {first}, set(others) or {first}


def _measure(options: argparse.Namespace, running: list[peers.Running]) -> list[Run]:
    loads = [(count, body) for count in options.connections for body in options.bodies]
    total = options.rounds * len(loads) * len(running)
    print(f"{total} runs of {options.seconds} s", flush=True)
    for peer in running:  # caches, pools and branches of the interpreter get warm
        _run(peer, max(options.connections), options.bodies[0], seconds=1, round_number=0)
    runs: list[Run] = []
    for round_number in range(1, options.rounds + 1):
        for number, (connections, body) in enumerate(loads):
            start = (round_number + number) % max(1, len(running))
            for peer in running[start:] + running[:start]:
                run = _run(peer, connections, body, options.seconds, round_number)
                runs.append(run)
                print(f"  {len(runs)}/{total} {_line(run)}", flush=True)
    order = [peer.name for peer in running]
    runs.sort(key=lambda run: order.index(run.peer))  # rotating was for the measuring only
    return runs


def _run(peer: peers.Running, connections: int, body: int, seconds: int, round_number: int) -> Run:
    before = tree_seconds(peer.pid) if peer.pid else 0.0
    url = f"http://127.0.0.1:{peer.port}/{body}"
    try:
        load = run_wrk(url, connections=connections, seconds=seconds)
    except LoadError as error:
        print(f"{peer.name}: {error}", file=sys.stderr)
        load = Load(requests=0, requests_per_second=0, p50_s=0, p99_s=0, errors=0)
    return Run(
        peer=peer.name,
        connections=connections,
        body=body,
        round=round_number,
        requests=load.requests,
        errors=load.errors,
        requests_per_second=load.requests_per_second,
        p50_s=load.p50_s,
        p99_s=load.p99_s,
        cpu_s=tree_seconds(peer.pid) - before if peer.pid else None,
    )


def _line(run: Run) -> str:
    cost = "" if run.cpu_s is None else f" {run.cpu_s / max(1, run.requests) * 1e6:.1f} µs/request"
    invalid = "" if run.valid else f" INVALID, {run.errors} errors"
    return (
        f"{run.peer} c={run.connections} {size(run.body)}:{cost} {run.requests} requests{invalid}"
    )


def _facts(
    options: argparse.Namespace,
    names: list[str],
    balancer_cores: set[int],
    other_cores: set[int],
) -> dict[str, str]:
    """Returns what a reader needs to judge the figures."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "cores": f"balancers {sorted(balancer_cores)}, load and servers {sorted(other_cores)}",
        "runs": f"{options.rounds} rounds of {options.seconds} s, medians of valid runs",
        "ours": f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {metadata.version(name)}" for name in ("trio", "h11")),
        **{name: version for name in names if (version := peers.version(name))},
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=peers.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _report(
    options: argparse.Namespace,
    facts: dict[str, str],
    skipped: dict[str, str],
    runs: list[Run],
    cells: list[Cell],
) -> None:
    lines = [f"- {key}: {value}" for key, value in facts.items()]
    lines += [f"- skipped {name}: {reason}" for name, reason in skipped.items()]
    markdown = "\n".join(lines) + "\n\n" + render(cells)
    document = {
        "facts": facts,
        "skipped": skipped,
        "runs": [asdict(run) for run in runs],
        "cells": [asdict(cell) for cell in cells],
    }
    print("\n" + markdown)
    RESULTS.mkdir(parents=True, exist_ok=True)
    stem = RESULTS / f"macro-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    stem.with_suffix(".md").write_text(markdown)
    for path in filter(None, (stem.with_suffix(".json"), options.json)):
        path.write_text(json.dumps(document, indent=2) + "\n")
    print(f"saved {stem}.md and .json")


if __name__ == "__main__":
    sys.exit(main())
