"""What 20,000 servers cost between a profile and a worker that serves.

Run with `python -m benchmarks.micro.many_servers [SERVERS]`. CPU time, the least of five rounds.
The message is what the supervisor sends to each worker.
"""

from __future__ import annotations

import gc
import os
import platform
import sys
from time import process_time
from typing import TYPE_CHECKING, Any

import msgspec

from trio_lb.config import Address, Profile, Server, compile_plan
from trio_lb.pool import Members, ServerPool, SharedTable
from trio_lb.supervise.messages import Start, ToWorker

if TYPE_CHECKING:
    from collections.abc import Callable

SERVERS = 20_000
ROUNDS = 5


def least_ms(action: Callable[[], object]) -> float:
    """Milliseconds of CPU time, in the best round."""
    least = float("inf")
    for _ in range(ROUNDS):
        gc.collect()
        started = process_time()
        action()
        least = min(least, process_time() - started)
    return 1000 * least


def profile_of(servers: int) -> Profile:
    """A profile of so many servers, of which each has an address of its own."""
    hosts = (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(servers))
    return Profile(servers=tuple(Server(address=Address(host=host, port=3000)) for host in hosts))


def main() -> None:
    """Print a line for each step."""
    servers = int(sys.argv[1]) if len(sys.argv) > 1 else SERVERS
    profile = profile_of(servers)
    plan = compile_plan(profile)
    (pool,) = plan.pools
    shared = SharedTable(servers, 64)
    slots = shared.assign(pool.servers)
    start = Start(
        plan=plan, table=0, row=1, slots={pool.name: slots}, number=0, listen=[[]], log_levels=[]
    )
    message = msgspec.msgpack.encode(start)
    decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ToWorker)
    at_work = ServerPool(Members(pool.servers, slots), pool.algorithm, shared.table)

    def assign_to_fresh() -> None:
        fresh = SharedTable(servers, 64)
        fresh.assign(pool.servers)
        fresh.close()

    print(f"{servers} servers, {platform.python_implementation()} {platform.python_version()}\n")
    encode = least_ms(lambda: msgspec.msgpack.encode(start))
    decode = least_ms(lambda: decoder.decode(message))
    steps = {
        "profile to plan (supervisor, in a thread)": least_ms(lambda: compile_plan(profile)),
        "slots for new servers (supervisor)": least_ms(assign_to_fresh),
        "slots for those that are known (supervisor, reload)": least_ms(
            lambda: shared.assign(pool.servers)
        ),
        "message written (supervisor, each worker)": encode,
        "message read (worker)": decode,
        "message written and read": encode + decode,
        "pool made (worker)": least_ms(
            lambda: ServerPool(Members(pool.servers, slots), pool.algorithm, shared.table)
        ),
        "counters of all servers (supervisor, each report)": least_ms(at_work.snapshot),
    }
    for name, ms in steps.items():
        print(f"{name:55s}{ms:9.1f} ms")
    print(f"\n{'message':55s}{len(message) / servers:9.1f} bytes per server")
    resident = os.fstat(shared.fd).st_blocks * 512 / 2**20
    print(f"{'table, with a report read':55s}{resident:9.1f} MiB")
    shared.close()


if __name__ == "__main__":
    main()
