"""The balancers that are compared: their configurations, their start and their end.

A new peer is one function that writes its configuration and returns its command, and one line in
`PEERS`. Each has one worker, keeps connections to servers, and says for whom it forwards; those
that can, check the servers every 10 s.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

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


#: Idle connections to servers that a balancer may keep: HAProxy and the relay have no bound, so
#: the others get one that does not bind either.
IDLE = 1024


@dataclass(frozen=True)
class Site:
    """Where a peer is set up: its directory, its port, and the ports of the servers."""

    directory: Path
    port: int
    servers: tuple[int, ...]


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


def _trio_lb(setting: str, site: Site, *, host: str = "127.0.0.1", idle: int = IDLE) -> list[str]:
    profile = site.directory / "profile.yaml"
    servers = "".join(f"  - http://{host}:{port}\n" for port in site.servers)
    profile.write_text(
        f"listen: http://127.0.0.1:{site.port}\nalgorithm: round_robin\nworkers: 1\n"
        f"{setting.format(directory=site.directory)}\nhealth_check: {{interval: 10s}}\n"
        f"upstream: {{idle_connections: {idle}}}\nservers:\n{servers}"
    )
    return [sys.executable, "-m", "trio_lb", "start", "-p", str(profile)]


def _bare_relay(site: Site) -> list[str]:
    relay = Path(__file__).with_name("bare_relay.py")
    return [sys.executable, str(relay), str(site.port), *map(str, site.servers)]


def _aiohttp(site: Site) -> list[str]:
    proxy = Path(__file__).with_name("aiohttp_proxy.py")
    return [sys.executable, str(proxy), str(site.port), *map(str, site.servers)]


#: What trio-lb tells servers and clients by default, and HAProxy only when asked.
SAME_FIELDS = """  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Real-IP %[src]
  http-request add-header Via "1.1 haproxy"
  http-response add-header Via "1.1 haproxy"
  unique-id-format %pid-%rt
  unique-id-header X-Request-ID
"""


def _haproxy(fields: str, site: Site) -> list[str]:
    configuration = site.directory / "haproxy.cfg"
    servers = "".join(
        f"  server s{number} 127.0.0.1:{port} check inter 10s\n"
        for number, port in enumerate(site.servers)
    )
    configuration.write_text(
        "global\n  nbthread 1\n  maxconn 4096\n"
        "defaults\n  mode http\n  http-reuse always\n  option forwardfor\n"
        "  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n"
        f"frontend in\n  bind 127.0.0.1:{site.port}\n  default_backend out\n{fields}"
        f"backend out\n  balance roundrobin\n"
        f"  option httpchk GET /\n{servers}"
    )
    return ["haproxy", "-db", "-f", str(configuration)]


def _nginx(site: Site) -> list[str]:
    servers = "".join(f"    server 127.0.0.1:{port};\n" for port in site.servers)
    return nginx(
        site.directory,
        f"  upstream out {{\n{servers}    keepalive {IDLE};\n"
        "    keepalive_requests 1000000000;\n  }\n"
        f"  server {{\n    listen 127.0.0.1:{site.port} backlog=4096;\n"
        "    location / {\n      proxy_pass http://out;\n      proxy_http_version 1.1;\n"
        '      proxy_set_header Connection "";\n'
        "      proxy_set_header X-Forwarded-For $remote_addr;\n"
        # Large bodies stay off the disk. Those of requests are collected before they are passed on,
        # as by default; `proxy_request_buffering off` takes twice the CPU time.
        "      proxy_max_temp_file_size 0;\n      client_body_buffer_size 2m;\n    }\n  }\n",
    )


def _balrs(program: Path, site: Site) -> list[str]:
    servers = ", ".join(f"http://127.0.0.1:{port}" for port in site.servers)
    (site.directory / "config.yaml").write_text(
        f"load balancer: http://127.0.0.1:{site.port}\nalgorithm: round_robin\n"
        f"servers: {servers}\nweights: 1, 1, 1\nmax connections: 100000, 100000, 100000\n"
        "timeout: 10\nhealth check interval: 10\n"
    )
    # It reads its file from where it is, and prints each message, bodies included.
    script = 'cd "$1" && exec "$0" start >/dev/null'
    return ["sh", "-c", script, str(program.resolve()), str(site.directory)]


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


PEERS: dict[str, Peer | None] = {
    "trio-lb": Peer(partial(_trio_lb, "fast_path: on")),
    "trio-lb-slow": Peer(partial(_trio_lb, "fast_path: off")),
    "haproxy": Peer(partial(_haproxy, ""), ("haproxy", "-v")),
    "nginx": Peer(_nginx, ("nginx", "-v")),
    "aiohttp": Peer(_aiohttp),
    "bare_relay": Peer(_bare_relay),
    "direct": None,
}

#: Others, that take part when they are named.
BESIDES: dict[str, Peer | None] = {
    "haproxy-same": Peer(partial(_haproxy, SAME_FIELDS), ("haproxy", "-v")),
    "trio-lb-combined": Peer(partial(_trio_lb, "access_log: {directory}/access.log")),
    # A connection for each request: to an address, to a name, and without the fast path.
    "trio-lb-fresh": Peer(partial(_trio_lb, "fast_path: on", idle=0)),
    "trio-lb-fresh-named": Peer(partial(_trio_lb, "fast_path: on", idle=0, host="localhost")),
    "trio-lb-fresh-slow": Peer(partial(_trio_lb, "fast_path: off", idle=0)),
    "trio-lb-json": Peer(
        partial(_trio_lb, "access_log: {directory}/access.log\naccess_log_format: json")
    ),
}


def with_balrs(program: Path) -> dict[str, Peer | None]:
    """Returns all peers, and Bal.rs, whose program is given; it has no version to tell."""
    return {**PEERS, "balrs": Peer(partial(_balrs, program))}


def version(definition: Peer | None) -> str | None:
    """Returns the first line that a peer's program prints about its version, if it is not ours."""
    if definition is None or not definition.version:
        return None
    done = subprocess.run(
        definition.version, capture_output=True, text=True, check=False, env={"PATH": PATH}
    )
    return (done.stdout + done.stderr).partition("\n")[0]


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
    with process(definition.set_up(site), log, cores) as running:
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
