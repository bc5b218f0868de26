"""How long a balancer takes to start, and the memory of its processes before there is any load.

A start lasts from the command to the first answer that came through; the median of some starts.
Memory is the proportional set size of all its processes a second later (/proc, so Linux), likewise.
What a further worker adds is the difference between `trio-lb+2` and `trio-lb`; `make idle` tells
what a connection does.

  python -m benchmarks.start                         # trio-lb, with two workers too, HAProxy, nginx
  python -m benchmarks.start --peers trio-lb --starts 10
"""

from __future__ import annotations

import http.client
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.macro.memory import tree_bytes
from benchmarks.macro.options import chosen_peers, parser, positive, run
from benchmarks.macro.peers import START_SECONDS, Peer, PeerError, Site, fetch, free_port, process
from benchmarks.macro.servers import servers
from benchmarks.macro.table import markdown, number
from benchmarks.macro.workloads import MIB, WORKLOADS

if TYPE_CHECKING:
    import argparse

    from benchmarks.macro.peers import Backends

PEERS = "trio-lb,trio-lb+2,haproxy,nginx"
WORKLOAD = WORKLOADS["32B@1"]

#: Time for everything that happens behind the first answer; seconds.
SETTLE = 1.0


def main() -> int:
    """Starts all peers some times, one at a time, and prints a table."""
    arguments = parser("benchmarks.start", __doc__)
    arguments.set_defaults(peers=PEERS)
    arguments.add_argument("--starts", type=positive, default=5, help="of each (default: 5)")
    options = arguments.parse_args()
    return run(lambda: _benchmark(options))


def _benchmark(options: argparse.Namespace) -> int:
    rows = []
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="trio-lb-bench-") as path:
        directory = Path(path)
        (directory / "servers").mkdir()
        with servers(directory / "servers", [WORKLOAD], cores) as backends:
            for name, definition in chosen_peers(options).items():
                if definition is None:
                    continue
                starts = []
                for number_of_start in range(options.starts):
                    place = directory / f"{name}-{number_of_start}"
                    place.mkdir()
                    starts.append(start(definition, place, backends, cores))
                seconds, memory = (median(figures) for figures in zip(*starts, strict=True))
                rows.append([name, number(seconds * 1e3, 0), number(memory / MIB, 1)])
    print(markdown(["peer", "start, ms", "memory, MiB"], rows), end="")
    return 0


def start(
    definition: Peer, directory: Path, backends: Backends, cores: set[int]
) -> tuple[float, int]:
    """Starts a peer and ends it; returns the seconds until its first answer, and its bytes.

    Raises:
        PeerError: there is no such program, or no answer comes.
    """
    site = Site(directory, free_port(), backends)
    command = definition.set_up(site)
    began = time.perf_counter()
    with process(command, directory / "log", cores) as running:
        while True:
            with suppress(OSError, http.client.HTTPException):
                if fetch(site.port, WORKLOAD) == WORKLOAD.body:
                    break
            if time.perf_counter() - began > START_SECONDS or running.poll() is not None:
                raise PeerError(f"{command[0]} gives no answer")
            time.sleep(0.002)
        taken = time.perf_counter() - began
        time.sleep(SETTLE)
        return taken, tree_bytes(running.pid)


if __name__ == "__main__":
    sys.exit(main())
