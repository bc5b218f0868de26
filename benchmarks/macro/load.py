"""The load: wrk or a client in C, a closed loop of connections, and what it reports."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.classes.requests import CLASSES
from benchmarks.floor.build import compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.macro.workloads import Workload

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
BYTES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}

#: An answer that takes longer counts as an error.
PATIENCE = "5s"

SCRIPTS = Path(__file__).parent
CLIENT = SCRIPTS.parent / "classes" / "client.c"


class LoadError(Exception):
    """The load couldn't run to its end, for example since nothing accepts connections."""


@dataclass(frozen=True)
class Load:
    """The result of one run."""

    requests: int
    bytes_read: float  # heads and bodies, of unfinished answers too; to three digits
    requests_per_second: float
    p50_s: float
    p99_s: float
    errors: int  # connections, reads, writes and timeouts that failed, and answers not 2xx or 3xx


#: What stands for a run that could not be made.
NO_RESULT = Load(requests=0, bytes_read=0, requests_per_second=0, p50_s=0, p99_s=0, errors=0)


def run_closed(port: int, workload: Workload, seconds: int, halfway: Callable[[], None]) -> Load:
    """Loads a port for some seconds, as fast as the answers come; calls `halfway` in the middle.

    Raises:
        LoadError: there is no result.
    """
    if workload.kind in CLASSES:
        return _run_client(port, workload, seconds, halfway)
    url = _url(port, workload.path)
    name = "chunks.lua" if workload.kind == "chunked-upload" else "post.lua"
    script = (SCRIPTS / name, workload.sent) if workload.sent else None
    options = ["-H", "Connection: close"] if workload.kind == "close" else []
    return _run(url, workload.connections, seconds, script, halfway, options)


def run_paced(port: int, path: str, rate: int, connections: int, seconds: int) -> Load:
    """Loads a port for some seconds with `rate` GET requests per second, as long as it keeps up.

    The latencies of the result are without the time that late requests have waited to be sent.

    Raises:
        LoadError: there is no result.
    """
    script = (SCRIPTS / "paced.lua", rate)
    return _run(_url(port, path), connections, seconds, script, lambda: None)


def _url(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}{path}"


def _run(
    url: str,
    connections: int,
    seconds: int,
    script: tuple[Path, int] | None,
    halfway: Callable[[], None],
    options: Sequence[str] = (),
) -> Load:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", PATIENCE]
    command += ["--latency", *options, *(("-s", str(script[0])) if script else ())]
    command += [url, *(("--", str(script[1])) if script else ())]
    return parse_wrk(_output(command, b"", seconds, halfway))


def _run_client(port: int, workload: Workload, seconds: int, halfway: Callable[[], None]) -> Load:
    request = CLASSES[workload.kind]
    command = [str(_client()), str(port), str(workload.connections), str(seconds), request.mode]
    return parse_client(_output(command, request.text, seconds, halfway))


@cache
def _client() -> Path:
    directory = SCRIPTS.parents[1] / "build" / "benchmarks"
    directory.mkdir(parents=True, exist_ok=True)
    return compiled(CLIENT, directory)


def _output(command: Sequence[str], given: bytes, seconds: int, halfway: Callable[[], None]) -> str:
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as load:
        try:
            output, _ = load.communicate(given, timeout=seconds / 2)
        except subprocess.TimeoutExpired:
            halfway()
            output, _ = load.communicate()
        except BaseException:
            load.kill()
            raise
    return output.decode(errors="replace")


def parse_client(output: str) -> Load:
    """Reads the line that client.c prints.

    Raises:
        LoadError: it isn't that.
    """
    try:
        requests, received, errors, seconds, p50, p99 = output.split()
        return Load(
            requests=int(requests),
            bytes_read=float(received),
            requests_per_second=int(requests) / float(seconds),
            p50_s=int(p50) / 1e6,
            p99_s=int(p99) / 1e6,
            errors=int(errors),
        )
    except ValueError as error:
        raise LoadError(f"the client printed {output!r}") from error


def parse_wrk(output: str) -> Load:
    """Reads what `wrk --latency` prints.

    Raises:
        LoadError: it isn't that.
    """
    total = _find(r"(\d+) requests in .*, ([\d.]+)([KMGT]?)B read", output)
    rate = _find(r"Requests/sec:\s+([\d.]+)", output)
    sockets = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    failures = [*(sockets.groups() if sockets else ()), *(refused.groups() if refused else ())]
    return Load(
        requests=int(total[1]),
        bytes_read=float(total[2]) * BYTES[total[3]],
        requests_per_second=float(rate[1]),
        p50_s=_percentile(50, output),
        p99_s=_percentile(99, output),
        errors=sum(int(count) for count in failures),
    )


def _percentile(percent: int, output: str) -> float:
    found = _find(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m|h)\s*$", output)
    return float(found[1]) * SECONDS[found[2]]


def _find(pattern: str, output: str) -> re.Match[str]:
    found = re.search(pattern, output, re.MULTILINE)
    if found is None:
        raise LoadError(f"wrk printed no {pattern!r}:\n{output}")
    return found
