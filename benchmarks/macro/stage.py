"""Servers and balancers that run side by side, each kind on its cores; and the facts about them."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.macro import peers
from benchmarks.macro.servers import servers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.macro.workloads import Workload


@dataclass(frozen=True)
class Stage:
    """What is running.

    Attributes:
        running: the peers that can be loaded.
        facts: what a reader needs to judge the figures; who was left out, and why, too.
    """

    running: list[peers.Running]
    facts: dict[str, str]


@contextmanager
def open_stage(
    chosen: Mapping[str, peers.Peer | None], workloads: Sequence[Workload]
) -> Iterator[Stage]:
    """Runs servers and the chosen peers until the block is left.

    The peers share one core. This process and what it starts, wrk above all, stays with the servers
    on the others.
    """
    balancer_cores, other_cores = _share_cores()
    os.sched_setaffinity(0, other_cores)
    stage = Stage([], _facts(balancer_cores, other_cores))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trio-lb-bench-")))
        (directory / "servers").mkdir()
        backends = stack.enter_context(servers(directory / "servers", workloads, other_cores))
        for name, definition in chosen.items():
            (directory / name).mkdir()
            site = peers.Site(directory / name, peers.free_port(), backends)
            try:
                running = stack.enter_context(
                    peers.peer(name, definition, site, workloads, balancer_cores)
                )
            except peers.PeerError as error:
                stage.facts[f"without {name}"] = str(error)
                print(f"without {name}: {error}", flush=True)
                continue
            stage.running.append(running)
            if version := peers.version(definition):
                stage.facts[name] = version
        yield stage


def _share_cores() -> tuple[set[int], set[int]]:
    """Returns the cores of the balancers, and those of load and servers."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        print("only one core: load and balancers share it, latencies mean little", flush=True)
    return {first}, set(others) or {first}


def _facts(balancer_cores: set[int], other_cores: set[int]) -> dict[str, str]:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    ours = [f"{name} {metadata.version(name)}" for name in ("trio", "h11")]
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "load average at the beginning": f"{os.getloadavg()[0]:.1f}",
        "cores": f"balancers {sorted(balancer_cores)}, load and servers {sorted(other_cores)}",
        "trio-lb": ", ".join([f"Python {platform.python_version()}", *ours]),
        "aiohttp": ", ".join(filter(None, map(_installed, ("aiohttp", "uvloop")))),
    }


def _installed(name: str) -> str:
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return f"no {name}"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=peers.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
