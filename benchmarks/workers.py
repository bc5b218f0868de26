"""Workers: the memory that each further one holds, and how soon one that died is replaced.

Starts trio-lb with some numbers of workers, has each answer some requests, and reads what its
processes hold (/proc/PID/smaps_rollup, so Linux): all together (proportional set size), and what a
worker shares with nobody. Then the only worker of one that has served for a while is killed, again
and again: the time from there until its replacement has answered a request.

  python -m benchmarks.workers
  python -m benchmarks.workers --workers 1,2,4,8 --kills 10

Without a zygote, from which workers are forked:

  python -m tests.support.refusing EPERM PR_SET_CHILD_SUBREAPER python -m benchmarks.workers
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.macro.cpu import tree
from benchmarks.macro.memory import tree_bytes
from benchmarks.macro.peers import free_port, process

#: Requests, each on a connection of its own, for each worker.
REQUESTS = 100

#: Before memory is read, and before a worker is killed; seconds. Who lives shorter than 5 s is
#: replaced after a pause.
SETTLE = 2.0
LIVES = 5.5

PATIENCE = 30.0

_GET = b"GET / HTTP/1.1\r\nHost: workers.example\r\nConnection: close\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def serve(server: socket.socket) -> None:
    """Be the server, in threads, for as long as the program runs."""

    def answer(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                connection.sendall(_ANSWER)

    while True:
        connection, _ = server.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def ask(port: int) -> None:
    """Have a request answered, however long nobody listens or answers.

    Raises:
        TimeoutError: nobody does.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                client.sendall(_GET)
                if b" 200 " in client.recv(65536):
                    return
        except OSError:  # the worker that had it was killed, or there is none yet
            pass
        time.sleep(0.001)
    raise TimeoutError


def workers_of(pid: int) -> list[int]:
    """The workers among the processes of a load balancer."""
    return [each for each in tree(pid) if _is_worker(Path(f"/proc/{each}"))]


def _is_worker(process: Path) -> bool:
    """Whether it is one, forked or with an interpreter of its own."""
    forked = (process / "comm").read_text().strip() == "trio-lb-worker"
    return forked or b"trio_lb.supervise.worker" in (process / "cmdline").read_bytes()


def own_bytes(pid: int) -> int:
    """What a process shares with no other."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(map(int, re.findall(r"^Private_\w+: +(\d+) kB$", rollup, re.MULTILINE)))


def measure(workers: int, server: int, kills: int) -> str:
    """What came of a load balancer with so many workers."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="trio-lb-workers-") as path:
        profile = Path(path) / "profile.yaml"
        profile.write_text(
            f"listen: http://127.0.0.1:{port}\nservers: http://127.0.0.1:{server}\n"
            f"workers: {workers}\n"
        )
        command = [sys.executable, "-m", "trio_lb", "start", "-p", str(profile)]
        began = time.monotonic()
        with process(command, Path(path) / "log", os.sched_getaffinity(0)) as running:
            ask(port)
            started = time.monotonic() - began
            for _ in range(REQUESTS * workers):
                ask(port)
            time.sleep(SETTLE)
            total = tree_bytes(running.pid) / 2**20
            own = [own_bytes(pid) / 2**20 for pid in workers_of(running.pid)]
            each = f"{statistics.mean(own):5.1f}" if own else "    -"
            times = [_replaced_after(running.pid, port) for _ in range(kills)]
    line = f"{workers:7d}  {started * 1000:8.0f}  {total:9.1f}  {each:>10}"
    return line + (f"  {statistics.median(times) * 1000:14.0f}" if times else "")


def _replaced_after(pid: int, port: int) -> float:
    time.sleep(LIVES)
    (worker,) = workers_of(pid)
    killed = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    ask(port)
    return time.monotonic() - killed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--workers", default="1,2,8", help="numbers of workers")
    parser.add_argument("--kills", type=int, default=5, help="of the only worker of one with 1")
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        print("workers  start ms  MiB (PSS)  own of one  replaced ms", flush=True)
        for workers in map(int, options.workers.split(",")):
            kills = options.kills if workers == 1 else 0
            print(measure(workers, server.getsockname()[1], kills), flush=True)


if __name__ == "__main__":
    main()
