"""What connections that do nothing cost: memory of each, and CPU time of requests beside them.

Two kinds: those that have had an answer and are kept for another request, and those that have said
nothing yet. A balancer with one worker is started for each kind, gets some requests to be warm, and
then holds all connections at once; what its processes have more of by then (proportional set size,
/proc/PID/smaps_rollup, so Linux), divided by their number, is the figure. Before that and beside
them the same requests are sent, one after the other: a cost that grows with idle connections shows
there. Then each connection has to be open still, and an answer has to come through some of them.
Clients and the server are in a process of their own.

  python -m benchmarks.idle                          # 10,000; HAProxy and nginx if installed
  python -m benchmarks.idle --connections 2000 --peers trio-lb
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import selectors
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from benchmarks.macro.cpu import tree_seconds
from benchmarks.macro.memory import tree_bytes
from benchmarks.macro.peers import PeerError, free_port, nginx, process

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

Kind: TypeAlias = Literal["answered", "silent"]
KINDS: tuple[Kind, ...] = ("answered", "silent")

#: How much one connection may hold before this ends with an error; see docs/operations.md.
MOST_KIB = 16.0

#: Connections made from one source address: more than the system's ports for it don't fit.
PER_ADDRESS = 2500

#: Answers that a balancer has given before anything is measured.
WARM_UP = 500

#: Connections that are asked for an answer in the end.
SAMPLE = 100

#: Requests whose CPU time is taken, without idle connections and beside them.
ASKED = 10_000

#: Time for the balancer to have done all that it does for a new connection; seconds.
SETTLE = 1.0

#: After so long the other process is given up.
PATIENCE = 120.0

_GET = b"GET / HTTP/1.1\r\nHost: idle.example\r\nUser-Agent: benchmark\r\nAccept: */*\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class NotHeld(Exception):  # noqa: N818
    """A balancer did not hold the connections."""


# The peers: one worker each, and patience


def _trio_lb(directory: Path, port: int, server: int, connections: int) -> list[str]:
    profile = directory / "profile.yaml"
    profile.write_text(
        f"listen: http://127.0.0.1:{port}\nworkers: 1\nservers: http://127.0.0.1:{server}\n"
        f"limits: {{clients: {connections + SAMPLE}}}\n"
        "timeouts: {client_head: 1h, keep_alive: 1h}\n"
    )
    return [sys.executable, "-m", "trio_lb", "start", "-p", str(profile)]


def _haproxy(directory: Path, port: int, server: int, connections: int) -> list[str]:
    configuration = directory / "haproxy.cfg"
    configuration.write_text(
        f"global\n  nbthread 1\n  maxconn {connections + SAMPLE}\n"
        "defaults\n  mode http\n  http-reuse always\n  timeout connect 2s\n"
        "  timeout client 1h\n  timeout server 1h\n  timeout http-request 1h\n"
        f"frontend in\n  bind 127.0.0.1:{port}\n  default_backend out\n"
        f"backend out\n  server s 127.0.0.1:{server}\n"
    )
    return ["haproxy", "-db", "-f", str(configuration)]


def _nginx(directory: Path, port: int, server: int, connections: int) -> list[str]:
    return nginx(
        directory,
        f"  client_header_timeout 1h;\n  upstream out {{\n    server 127.0.0.1:{server};\n"
        "    keepalive 64;\n  }\n"
        f"  server {{\n    listen 127.0.0.1:{port} backlog=4096;\n    location / {{\n"
        "      proxy_pass http://out;\n      proxy_http_version 1.1;\n"
        '      proxy_set_header Connection "";\n    }\n  }\n',
        connections=connections + 1000,
    )


PEERS: dict[str, Callable[[Path, int, int, int], list[str]]] = {
    "trio-lb": _trio_lb,
    "haproxy": _haproxy,
    "nginx": _nginx,
}


# The process of clients and server


def hold(orders: Connection) -> None:
    """Serve, and hold connections as told: one process, driven over a pipe."""
    _raise_descriptor_limit()
    server = socket.create_server(("127.0.0.1", 0), backlog=1024)
    orders.send(server.getsockname()[1])
    port, kind, number = orders.recv()
    holder = _Holder(server, port)
    steps: list[Callable[[], None]] = [
        holder.warm_up,
        holder.ask_often,
        lambda: holder.connect(number, kind),
        holder.ask_often,
        holder.check,
    ]
    try:
        for step in steps:
            orders.recv()
            step()
            orders.send(None)
    except (NotHeld, OSError) as error:
        orders.send(str(error))


class _Holder:
    """Clients of a balancer, and the server behind it, in one loop."""

    def __init__(self, server: socket.socket, port: int) -> None:
        self._port = port
        self._clients: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        server.setblocking(False)
        self._selector.register(server, selectors.EVENT_READ, None)

    def _serve(self, seconds: float) -> None:
        """Answer what comes to the server within so long a time; at least once what is there."""
        for key, _ in self._selector.select(seconds):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if key.data is None:
                connection, _ = sock.accept()
                self._selector.register(connection, selectors.EVENT_READ, "server")
                continue
            with suppress(ConnectionResetError):
                if data := sock.recv(65536):
                    sock.sendall(_ANSWER * data.count(b"\r\n\r\n"))
                    continue
            self._selector.unregister(sock)
            sock.close()

    def _connect(self) -> socket.socket:
        source = f"127.0.0.{2 + len(self._clients) // PER_ADDRESS}"
        client = socket.socket()
        client.bind((source, 0))
        client.connect(("127.0.0.1", self._port))
        client.setblocking(False)
        return client

    def _ask(self, client: socket.socket) -> None:
        client.sendall(_GET)
        answer = b""
        deadline = time.monotonic() + 10
        while not answer.endswith(b"hello"):
            self._serve(0.001)
            with suppress(BlockingIOError):
                if not (data := client.recv(65536)):
                    raise NotHeld("a connection was closed instead of answered")
                answer += data
            if time.monotonic() > deadline:
                raise NotHeld(f"no answer within 10 s, but {answer!r}")

    def warm_up(self) -> None:
        """Have some requests answered, over a few connections."""
        for _ in range(10):
            with self._connect() as client:
                for _ in range(WARM_UP // 10):
                    self._ask(client)

    def ask_often(self) -> None:
        """Have requests answered, one after the other over one connection."""
        with self._connect() as client:
            for _ in range(ASKED):
                self._ask(client)

    def connect(self, number: int, kind: Kind) -> None:
        """Make so many connections, and have each one answered if that is the kind."""
        for _ in range(number):
            client = self._connect()
            self._clients.append(client)
            if kind == "answered":
                self._ask(client)
        until = time.monotonic() + SETTLE
        while time.monotonic() < until:
            self._serve(0.1)

    def check(self) -> None:
        """See whether all connections are still there, and some of them good.

        Raises:
            NotHeld: they are not.
        """
        closed = 0
        for client in self._clients:
            with suppress(BlockingIOError):
                client.recv(1)
                closed += 1
        if closed:
            raise NotHeld(f"{closed} of {len(self._clients)} connections were closed")
        for client in self._clients[:: max(1, len(self._clients) // SAMPLE)]:
            self._ask(client)


# Measuring


class Figures(NamedTuple):
    """What was measured.

    Attributes:
        kib: that each connection holds.
        alone: microseconds of CPU time of a request without idle connections.
        beside: the same beside them.
    """

    kib: float
    alone: float
    beside: float


def measure(name: str, kind: Kind, connections: int) -> Figures:
    """What idle connections cost a balancer.

    Raises:
        PeerError: the balancer is not installed or does not start.
        NotHeld: it did not hold all connections, or not well.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    holder = context.Process(target=hold, args=(theirs,))
    holder.start()
    port = free_port()
    try:
        with tempfile.TemporaryDirectory(prefix="trio-lb-idle-") as path:
            directory = Path(path)
            command = PEERS[name](directory, port, _told(ours), connections)
            cores = os.sched_getaffinity(0)
            with process(command, directory / "log", cores) as running:
                ours.send((port, kind, connections))
                _wait_listening(port, directory / "log")
                _have(ours, "warm up")
                alone = _cost(running.pid, ours)
                before = tree_bytes(running.pid)
                _have(ours, "connect")
                after = tree_bytes(running.pid)
                beside = _cost(running.pid, ours)
                _have(ours, "check")
        return Figures((after - before) / 1024 / connections, alone, beside)
    finally:
        holder.kill()
        holder.join()


def _have(pipe: Connection, step: str) -> None:
    """Have the other process take its next step."""
    pipe.send(step)
    if (problem := _told(pipe)) is not None:
        raise NotHeld(str(problem))


def _cost(pid: int, pipe: Connection) -> float:
    """Microseconds of CPU time that a balancer takes for a request."""
    before = tree_seconds(pid)
    _have(pipe, "ask")
    return (tree_seconds(pid) - before) / ASKED * 1e6


def _told(pipe: Connection) -> Any:
    if not pipe.poll(PATIENCE):
        raise NotHeld(f"not done within {PATIENCE:g} s")
    return pipe.recv()


def _wait_listening(port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise PeerError(f"does not listen: {''.join(last)}")


def _raise_descriptor_limit() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def main() -> int:
    """Measure and print; 1 if trio-lb does not hold them, or each holds too much."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of {','.join(PEERS)}")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {','.join(KINDS)}")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    limit = _raise_descriptor_limit()
    if limit < options.connections + 2000:
        print(f"can't measure: only {limit} open files are allowed", file=sys.stderr)
        return 1
    good = True
    print(
        f"{options.connections} connections: KiB of user space for each (PSS); CPU time of requests"
    )
    for name in options.peers.split(","):
        for kind in options.kinds.split(","):
            try:
                figures = measure(name, kind, options.connections)
            except (PeerError, NotHeld) as error:
                print(f"{name:<10} {kind:<10} {error}", flush=True)
                good = good and name != "trio-lb"
                continue
            print(
                f"{name:<10} {kind:<10} {figures.kib:6.2f} KiB   {figures.alone:5.1f} us alone,"
                f" {figures.beside:5.1f} us beside them",
                flush=True,
            )
            good = good and (name != "trio-lb" or figures.kib <= MOST_KIB)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
