"""What a peer is: its start, the first answers that it has to give, and its end."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from benchmarks.macro.workloads import Workload

ROOT = Path(__file__).parents[2]
# Debian has daemons in /usr/sbin, which isn't in everybody's PATH.
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
START_SECONDS = 10.0
END_SECONDS = 5.0


class PeerError(Exception):
    """A peer can't take part; says why."""


class Backends(NamedTuple):
    """The servers: their ports, those where a PROXY header is expected, and their unix sockets."""

    ports: tuple[int, ...]
    proxied: tuple[int, ...] = ()
    sockets: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Site:
    """Where a peer is set up: its directory, its port, and the servers."""

    directory: Path
    port: int
    backends: Backends

    @property
    def servers(self) -> tuple[int, ...]:
        """The ordinary ports of the servers."""
        return self.backends.ports


@dataclass(frozen=True)
class Running:
    """A peer that answers; pid None when there is nothing between load and servers."""

    name: str
    port: int
    pid: int | None


@dataclass(frozen=True)
class Peer:
    """How to set up a balancer, and the command that prints its version (none: ours)."""

    set_up: Callable[[Site], list[str]]
    version: tuple[str, ...] = ()


def nginx(directory: Path, http: str, *, connections: int = 4096) -> list[str]:
    """Configures an nginx with one worker and without an access log; returns its command."""
    user = "user root;\n" if os.geteuid() == 0 else ""  # its files are in a private directory
    temporary = "".join(
        f"  {kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = directory / "nginx.conf"
    configuration.write_text(
        f"daemon off;\n{user}worker_processes 1;\npid {directory}/nginx.pid;\n"
        f"events {{\n  worker_connections {connections};\n}}\n"
        "http {\n  access_log off;\n  keepalive_timeout 3600;\n  keepalive_requests 1000000000;\n"
        f"  client_max_body_size 0;\n{temporary}{http}}}\n"
    )
    return ["nginx", "-e", "stderr", "-p", str(directory), "-c", str(configuration)]


def websocket(url: str) -> str:
    """Returns what a location of nginx needs to pass WebSockets on to `url`."""
    return (
        f"      proxy_pass {url};\n      proxy_http_version 1.1;\n"
        "      proxy_set_header Upgrade $http_upgrade;\n"
        '      proxy_set_header Connection "upgrade";\n'
    )


def version(definition: Peer | None) -> str | None:
    """Returns the first line that a peer's program prints about its version, if it is not ours."""
    if definition is None or not definition.version:
        return None
    done = subprocess.run(
        definition.version, capture_output=True, text=True, check=False, env={"PATH": PATH}
    )
    return (done.stdout + done.stderr).strip().partition("\n")[0]


@contextmanager
def peer(
    name: str,
    definition: Peer | None,
    site: Site,
    workloads: Iterable[Workload],
    cores: set[int],
) -> Iterator[Running]:
    """Runs a peer until the block is left; begins when it has answered all of `workloads`.

    Raises:
        PeerError: it couldn't be started or gives wrong answers.
    """
    if definition is None:
        yield Running(name, site.servers[0], None)
        return
    log = site.directory / "log"
    try:
        command = definition.set_up(site)
    except FileNotFoundError as error:
        raise PeerError(f"{error.filename} is not installed") from error
    with process(command, log, cores) as running:
        wait_answering(site.port, workloads, running, log)
        yield Running(name, site.port, running.pid)


@contextmanager
def process(
    command: Sequence[str], log: Path, cores: set[int]
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process on `cores`; ends it, and what it has started, when the block is left.

    Raises:
        PeerError: there is no such program.
    """
    with log.open("wb") as output:
        try:
            running = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": PATH, "PYTHONPATH": str(ROOT)},
                start_new_session=True,  # Ctrl+C is for us; we end it in order
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        except FileNotFoundError as error:
            raise PeerError(f"{command[0]} is not installed") from error
    try:
        yield running
    finally:
        running.terminate()
        with suppress(subprocess.TimeoutExpired):
            running.wait(END_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def wait_answering(
    port: int, workloads: Iterable[Workload], running: subprocess.Popen[bytes], log: Path
) -> None:
    """Waits until `port` answers each kind of request of `workloads` in full.

    Raises:
        PeerError: it doesn't within START_SECONDS, or the process has ended.
    """
    kinds = {(workload.kind, workload.path): workload for workload in workloads}.values()
    deadline = time.monotonic() + START_SECONDS
    problem = ""
    while time.monotonic() < deadline:
        if (status := running.poll()) is not None:
            raise PeerError(f"ended with status {status}: {_last_line(log)}")
        try:
            if all(fetch(port, workload) == workload.body for workload in kinds):
                return
            problem = "an answer of another status or size"
        except (OSError, http.client.HTTPException) as error:
            problem = repr(error)
        time.sleep(0.05)
    raise PeerError(f"no right answer within {START_SECONDS:.0f} s: {problem}")


def fetch(port: int, workload: Workload) -> int:
    """Returns how many bytes the answer has there; -1 if it isn't a good one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        if workload.sent:
            body = b"x" * workload.sent
            chunked = workload.kind == "chunked-upload"
            connection.request("POST", workload.path, iter([body]) if chunked else body)
        else:
            headers = {"Connection": "close"} if workload.kind == "close" else {}
            connection.request("GET", workload.path, headers=headers)
        response = connection.getresponse()
        return len(response.read()) if response.status == 200 else -1
    finally:
        connection.close()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it has printed nothing")


def free_port() -> int:
    """Returns a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
