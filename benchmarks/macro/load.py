"""The load: wrk, a closed loop of keep-alive connections, and what it reports."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class LoadError(Exception):
    """wrk couldn't run to its end, for example since nothing accepts connections."""


@dataclass(frozen=True)
class Load:
    """The result of one run of wrk."""

    requests: int
    requests_per_second: float
    p50_s: float
    p99_s: float
    errors: int  # connections, reads, writes and timeouts that failed, and answers not 2xx or 3xx


def run_wrk(url: str, *, connections: int, seconds: int) -> Load:
    """Loads `url` for some seconds with GET requests, one at a time on each connection.

    Raises:
        LoadError: there is no result.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return parse_wrk(done.stdout)


def parse_wrk(output: str) -> Load:
    """Reads what `wrk --latency` prints.

    Raises:
        LoadError: it isn't that.
    """
    requests = _find(r"(\d+) requests in", output)
    rate = _find(r"Requests/sec:\s+([\d.]+)", output)
    sockets = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    failures = [*(sockets.groups() if sockets else ()), *(refused.groups() if refused else ())]
    return Load(
        requests=int(requests[1]),
        requests_per_second=float(rate[1]),
        p50_s=_percentile(50, output),
        p99_s=_percentile(99, output),
        errors=sum(int(count) for count in failures),
    )


def _percentile(percent: int, output: str) -> float:
    found = _find(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m|h)\s*$", output)
    return float(found[1]) * UNITS[found[2]]


def _find(pattern: str, output: str) -> re.Match[str]:
    found = re.search(pattern, output, re.MULTILINE)
    if found is None:
        raise LoadError(f"wrk printed no {pattern!r}:\n{output}")
    return found
