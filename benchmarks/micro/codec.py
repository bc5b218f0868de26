"""What the parts of the fast path cost: head codec, framing, the pick with its accounts, waking.

Run with `make bench-micro` or `python -m benchmarks.micro.codec`, which builds the loops that are
measured (`codec_loops.pyx`) first. The table shows nanoseconds per call, in the best round, and
next to it the instructions per call that `benchmarks/micro/codec_instructions.json` keeps.

With `--callgrind` (valgrind must be installed) instructions are counted again: unlike times they
are the same on a busy machine, and show a regression of one per cent. `--keep` keeps them. They
depend on the compiler and on the C library's memcpy; compare what one machine has counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, NamedTuple

from trio_lb.fast.http1 import ClientLines
from trio_lb.plan import Address, Algorithm, ServerPlan
from trio_lb.pool import ServerPool

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent.parent
KEPT = Path(__file__).with_name("codec_instructions.json")
LOOPS = "benchmarks/micro/codec_loops.pyx"
ROUNDS = 9
TIMES = 100_000
TIMES_COUNTED = 1_000

WRK = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n"
BROWSER = (
    b"GET /account/orders?page=2&sort=date HTTP/1.1\r\n"
    b"Host: shop.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-GB,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"Connection: keep-alive\r\n"
    b"Cookie: session=6b1f8c2e\r\n\r\n"
)
POST = (
    b"POST /api/v1/events HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\n"
    b"Content-Length: 512\r\nX-Request-ID: 0192f0c1-5b7e-7c3a-9d41-3f3a5c0e8b1d\r\n"
    b"X-Forwarded-For: 203.0.113.7\r\naccept:*/*\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 01 Jan 2022 00:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 32\r\nConnection: keep-alive\r\n\r\n"
)
CHUNKS = b"400\r\n%b\r\n" % (b"x" * 1024) * 16 + b"0\r\n\r\n"
CLIENT = ClientLines(
    b"X-Forwarded-For: 192.0.2.17\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: ",
    b"\r\nX-Real-IP: 192.0.2.17\r\n",
)


class Part(NamedTuple):
    """Something to be measured.

    Attributes:
        name: of the line in the tables.
        size: of the bytes that go in.
        loop: has it done as often as it is told.
    """

    name: str
    size: int
    loop: Callable[[int], None]


def parts() -> list[Part]:
    from benchmarks.micro import codec_loops as loops

    def part(name: str, data: bytes, loop: Callable[..., None], *arguments: object) -> Part:
        return Part(name, len(data), lambda times: loop(name.encode(), data, *arguments, times))

    requests = {"wrk": WRK, "browser": BROWSER, "POST": POST}
    return [
        *(part(f"parse request, {name}", data, loops.parse_requests)
          for name, data in requests.items()),
        *(part(f"write request, {name}", data, loops.write_requests, CLIENT, b"7f3a-1c9e4")
          for name, data in requests.items()),
        part("parse response", RESPONSE, loops.parse_responses),
        part("write response", RESPONSE, loops.write_responses),
        part("follow 16 chunks", CHUNKS, loops.follow_bodies),
        *(Part(f"pick and count, {algorithm}", 0, pick(algorithm))
          for algorithm in ("round_robin", "least_connections", "least_response_time")),
        Part("wake who is ready", 0, wake),
    ]  # fmt: skip


def pick(algorithm: str) -> Callable[[int], None]:
    """A request's pick of one of three servers, and all that is counted of it."""
    from benchmarks.micro import codec_loops as loops

    servers = tuple(
        ServerPlan(name=str(port), address=Address(host="127.0.0.1", port=port))
        for port in (1, 2, 3)
    )
    pool = ServerPool.private(servers, Algorithm(algorithm))
    name = f"pick and count, {algorithm}".encode()
    return lambda times: loops.picks(name, pool.table, pool.selection, times)


def wake(times: int) -> None:
    """A descriptor becomes ready, and its watcher is called (Linux)."""
    from benchmarks.micro import codec_loops as loops
    from trio_lb.fast.loop import Epoll

    readiness, fd = Epoll(perf_counter), os.eventfd(0, os.EFD_NONBLOCK)
    try:
        loops.wakes(b"wake who is ready", readiness, fd, times)
    finally:
        os.close(fd)
        readiness.close()


def build_loops() -> None:
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "TRIO_LB_ALSO": LOOPS}, check=True)


def nanoseconds(part: Part) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        started = perf_counter_ns()
        part.loop(TIMES)
        best = min(best, perf_counter_ns() - started)
    return best / TIMES


def count_instructions() -> dict[str, float]:
    """Instructions per call of every part, from a run under callgrind."""
    with tempfile.TemporaryDirectory(prefix="trio-lb-bench-") as directory:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out"]
        command += [sys.executable, "-m", "benchmarks.micro.codec", "--loops"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        dumps = [path.read_text() for path in Path(directory).iterdir()]
    counted = dict(total for dump in dumps if (total := read_dump(dump)) is not None)
    return {name: instructions / TIMES_COUNTED for name, instructions in counted.items()}


def read_dump(text: str) -> tuple[str, int] | None:
    """The name and the instructions of a loop's dump; None if it is the dump at the end."""
    name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
    instructions = re.search(r"^(?:totals|summary): (\d+)$", text, re.MULTILINE)
    return (name[1], int(instructions[1])) if name and instructions else None


def print_times(kept: dict[str, float]) -> None:
    print(f"{'':<36}{'bytes':>8}{'ns':>8}{'instructions kept':>20}")
    for part in parts():
        taken = nanoseconds(part)
        print(f"{part.name:<36}{part.size:>8}{taken:>8.1f}{kept.get(part.name, 0):>20.0f}")


def print_instructions(kept: dict[str, float], counted: dict[str, float]) -> None:
    print(f"{'instructions per call':<36}{'kept':>8}{'now':>8}{'change':>9}")
    for part in parts():
        now = counted[part.name]
        before = kept.get(part.name, now)
        print(f"{part.name:<36}{before:>8.0f}{now:>8.0f}{now / before - 1:>+9.1%}")


def main() -> None:
    """Build the loops, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--callgrind", action="store_true", help="count instructions")
    parser.add_argument("--keep", action="store_true", help="... and keep what was counted")
    parser.add_argument("--loops", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loops:
        for part in parts():
            part.loop(TIMES_COUNTED)
        return
    build_loops()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    if not options.callgrind:
        print_times(kept)
        return
    counted = count_instructions()
    print_instructions(kept, counted)
    if options.keep:
        KEPT.write_text(json.dumps(counted, indent=2) + "\n")


if __name__ == "__main__":
    main()
