"""What a pick costs, and what a request pays for its accounts.

Run with `python -m benchmarks.micro.selection`. The first table shows nanoseconds per pick, called
from Python, for pools of several sizes; the call itself is in it (one that does nothing takes about
20). The second one shows what one request pays in all for `ServerPool`: reserve, answered,
completed, and giving the slot back. The third one shows the same for 10 servers in a shared table
with several workers' rows, which take requests in turn, so that each finds another's mark.
"""

from __future__ import annotations

import mmap
import platform
from itertools import cycle, repeat
from time import perf_counter_ns
from typing import TYPE_CHECKING

from trio_lb.fast.table import Table, format_table, table_size
from trio_lb.plan import Address, Algorithm, ServerPlan
from trio_lb.pool import Members, ServerPool, SharedTable, attach
from trio_lb.pool.algorithms import ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (3, 10, 100, 1000)
WORKERS = (1, 8, 32)
ROUNDS = 7
ROUND_NS = 30_000_000


def best_ns(action: Callable[[], object]) -> float:
    """Nanoseconds per call, in the best round."""
    calls, took = 1, 0
    while took < ROUND_NS // 10:
        calls *= 2
        took = round_ns(action, calls)
    calls = max(1, calls * ROUND_NS // took)
    return min(round_ns(action, calls) for _ in range(ROUNDS)) / calls


def round_ns(action: Callable[[], object], calls: int) -> int:
    started = perf_counter_ns()
    for _ in repeat(None, calls):
        action()
    return perf_counter_ns() - started


def pick_ns(algorithm: Algorithm, size: int) -> float:
    """A pick among servers of different weights, loads and response times."""
    memory = mmap.mmap(-1, table_size(size))
    format_table(memory, size)
    table = Table(memory)
    for slot in range(size):
        table.add(1 + slot % 5)
        table.answered(slot, 1.0, 0.010 + 0.001 * (slot % 7))
        for _ in range(slot % 3):
            table.acquire(slot)
    pick = ALGORITHMS[algorithm](table).pick
    return best_ns(lambda: pick(2.0))


def servers_of(size: int) -> list[ServerPlan]:
    return [
        ServerPlan(
            name=str(slot), address=Address(host="127.0.0.1", port=3000 + slot), weight=1 + slot % 5
        )
        for slot in range(size)
    ]


def request_ns(algorithm: Algorithm, size: int) -> float:
    """All that the pool does for one request."""
    return requests_ns([ServerPool.private(servers_of(size), algorithm)])


def shared_request_ns(algorithm: Algorithm, workers: int) -> float:
    """The same by several workers at one table, in turn."""
    servers = servers_of(10)
    shared = SharedTable(len(servers), workers)
    members = Members(servers, shared.assign(servers))
    tables = [attach(shared.fd, shared.lease()) for _ in range(workers)]
    shared.close()
    return requests_ns([ServerPool(members, algorithm, one) for one in tables])


def requests_ns(pools: list[ServerPool]) -> float:
    now = 0.0
    turns = cycle(pools)

    def request() -> None:
        nonlocal now
        now += 0.001
        reservation = next(turns).reserve(now)
        assert reservation is not None
        with reservation:
            reservation.answered(now, 0.010, 200)
            reservation.completed(1000, 200)

    return best_ns(request)


def print_table(
    title: str, measure: Callable[[Algorithm, int], float], sizes: tuple[int, ...] = SIZES
) -> None:
    print(f"{title:<32}" + "".join(f"{size:>9}" for size in sizes))
    for algorithm in Algorithm:
        figures = (f"{measure(algorithm, size):9.0f}" for size in sizes)
        print(f"{algorithm:<32}" + "".join(figures), flush=True)
    print()


def main() -> None:
    """Measure and print the tables."""
    print(f"Python {platform.python_version()}, {platform.machine()}\n")
    print_table("ns per pick; servers:", pick_ns)
    print_table("ns per request; servers:", request_ns)
    print_table("ns per request; workers:", shared_request_ns, WORKERS)


if __name__ == "__main__":
    main()
