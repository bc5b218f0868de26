"""Instructions of a whole request on the fast path, without the kernel's (valgrind needed).

Run with `make bench-instructions` or `python -m benchmarks.micro.requests`. An embedded load
balancer serves keep-alive requests under cachegrind, once so many and once twice as many; the
difference is what these cost, whatever it takes to start and to end. Clients and server are
threads of another process. How many requests are handled in one turn varies, and with it what each
one costs: with 16 connections on a busy machine, 4,600 to 7,100 were seen for the same commit. So
compare commits on a machine that has nothing else to do, in several runs: `--connections 16 16 16`.

    python -m benchmarks.micro.requests --tree ../another-worktree
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
REQUEST = b"GET /hello HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nDate: Tue, 01 Dec 2026 00:00:00 GMT\r\nServer: bench\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 32\r\n\r\n" + b"x" * 32
)
#: How many for every connection, at first.
REQUESTS = 4000

#: Serves until somebody closes its standard input.
BALANCER = """
import sys
import trio, trio_lb

async def main():
    profile = trio_lb.parse_profile(
        {"listen": "http://127.0.0.1:0", "servers": sys.argv[1], "health_check": "off"}
    )
    async with trio_lb.open_load_balancer(profile) as balancer:
        print(balancer.addresses[0].rpartition(":")[2], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)

trio.run(main)
"""


def instructions(tree: Path, connections: int, requests: int) -> int:
    """Instructions that a balancer executes for so many requests on each connection."""
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.create_server(("127.0.0.1", 0), backlog=64) as server,
    ):
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        counts = Path(directory) / "counts"
        tool = [
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            f"--cachegrind-out-file={counts}",
        ]
        python = os.fspath(tree / ".venv" / "bin" / "python")
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with subprocess.Popen(
            [*tool, python, "-c", BALANCER, url],
            cwd=tree,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as balancer:
            assert balancer.stdin is not None
            assert balancer.stdout is not None
            ask(int(balancer.stdout.readline()), connections, requests)
            balancer.stdin.close()
        if balancer.returncode:
            sys.exit(f"the balancer has ended with exit code {balancer.returncode}")
        summary = re.search(r"^summary: (\d+)", counts.read_text(), re.MULTILINE)
        assert summary is not None
        return int(summary[1])


def serve(server: socket.socket) -> None:
    """Answer every receive of every connection, in a thread each."""

    def answer(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                connection.sendall(RESPONSE)

    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # closed
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def ask(port: int, connections: int, requests: int) -> None:
    """Send so many requests on each connection, all at the same time, one after the other."""

    def client() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(requests):
                connection.sendall(REQUEST)
                data = b""
                while not data.endswith(b"x" * 32):
                    piece = connection.recv(65536)
                    if not piece:
                        sys.exit("the balancer has closed a connection")
                    data += piece

    threads = [threading.Thread(target=client) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def per_request(tree: Path, connections: int) -> float:
    """Instructions of one request, at so many connections."""
    number = max(REQUESTS // connections, 1)
    once = instructions(tree, connections, number)
    twice = instructions(tree, connections, 2 * number)
    return (twice - once) / (number * connections)


def main() -> None:
    parser = argparse.ArgumentParser(description="Instructions of a request.")
    parser.add_argument(
        "--tree", type=Path, action="append", help="another worktree that was built, to compare"
    )
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16])
    options = parser.parse_args()
    for tree in (ROOT, *(options.tree or ())):
        for connections in options.connections:
            cost = per_request(tree.resolve(), connections)
            print(f"{tree.name}: {connections} connections: {cost:,.0f} instructions", flush=True)


if __name__ == "__main__":
    main()
