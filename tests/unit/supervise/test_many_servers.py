"""Twenty thousand servers: what a supervisor and a worker do with them before the first request.

Held by sizes and by ratios: ten times the servers may take ten times as long, and not a hundred.
"""

from __future__ import annotations

import gc
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from trio_lb.config import Address, Profile, Server, compile_plan
from trio_lb.health import HealthChecker
from trio_lb.http1.compiled_codec import CODECS
from trio_lb.pool import Counters, Members, Permits, ServerPool, SharedTable
from trio_lb.runtime.service import Service
from trio_lb.supervise.messages import Start, ToWorker
from trio_lb.upstream.connector import Connector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trio_lb.plan import Plan

FEW, MANY = 2_000, 20_000

#: A step that is quadratic takes a hundred times as long, one with more cache misses fifteen times.
RATIO = 40


def plan_of(servers: int) -> Plan:
    addresses = (
        Address(host=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", port=3000)
        for number in range(servers)
    )
    return compile_plan(Profile(servers=tuple(Server(address=each) for each in addresses)))


def start_of(plan: Plan) -> Start:
    (pool,) = plan.pools
    slots = {pool.name: tuple(range(len(pool.servers)))}
    return Start(plan=plan, table=0, row=1, slots=slots, number=0, listen=[[]], log_levels=[])


class Steps:
    """What is done with a plan, each step on fresh objects."""

    def __init__(self, servers: int) -> None:
        self.servers = servers
        self.plan = plan_of(servers)
        (self.pool,) = self.plan.pools
        self.start = start_of(self.plan)
        self.sent = msgspec.msgpack.encode(self.start)
        self.decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ToWorker)
        self.shared = self.fresh_table()
        self.slots = self.shared.assign(self.pool.servers)
        self.pool_at_work = self.server_pool()

    def close(self) -> None:
        self.shared.close()

    def fresh_table(self) -> SharedTable:
        return SharedTable(2 * self.servers, 64)

    def compile(self) -> None:
        plan_of(self.servers)

    def encode(self) -> None:
        msgspec.msgpack.encode(self.start)

    def decode(self) -> None:
        self.decoder.decode(self.sent)

    def assign(self) -> None:
        table = self.fresh_table()
        table.assign(self.pool.servers)
        table.close()

    def assign_again(self) -> None:
        self.shared.assign(self.pool.servers)

    def adjust(self) -> None:
        self.shared.adjust(self.pool.servers, self.slots)

    def server_pool(self) -> ServerPool:
        table = self.shared.table
        members = Members(self.pool.servers, self.slots)
        return ServerPool(members, self.pool.algorithm, table)

    def snapshot(self) -> None:
        self.pool_at_work.snapshot()

    def service(self) -> None:
        async def make() -> None:
            table = self.shared.table
            Service(self.plan, [], Counters(table), Permits(table), self.pool_at_work, None)

        trio.run(make)

    def health_checks(self) -> None:
        async def watch() -> None:
            async def dial(address: Address, seconds: float, *_: object) -> Any:
                await trio.sleep_forever()

            checker = HealthChecker(Connector(dial, CODECS.server))
            async with trio.open_nursery() as nursery:
                await nursery.start(checker.run)
                checker.watch(self.pool.health_check, self.pool_at_work)
                await trio.testing.wait_all_tasks_blocked()
                checker.watch(self.pool.health_check, self.pool_at_work)
                nursery.cancel_scope.cancel()

        trio.run(watch)


STEPS = [
    Steps.compile,
    Steps.encode,
    Steps.decode,
    Steps.assign,
    Steps.assign_again,
    Steps.adjust,
    Steps.server_pool,
    Steps.snapshot,
    Steps.service,
    Steps.health_checks,
]


@pytest.fixture(scope="module")
def few() -> Iterator[Steps]:
    steps = Steps(FEW)
    yield steps
    steps.close()


@pytest.fixture(scope="module")
def many() -> Iterator[Steps]:
    steps = Steps(MANY)
    yield steps
    steps.close()


def cpu_time(step: Callable[[], object]) -> float:
    """Seconds; a millisecond or less says little."""
    gc.collect()
    gc.disable()
    before = time.process_time()
    try:
        step()
    finally:
        taken = time.process_time() - before
        gc.enable()
    return max(taken, 0.001)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_no_step_is_quadratic(step: Callable[[Steps], object], few: Steps, many: Steps) -> None:
    least = min(cpu_time(lambda: step(few)) for _ in range(3))
    assert any(cpu_time(lambda: step(many)) < RATIO * least for _ in range(3))


def test_a_server_takes_a_hundred_bytes_of_the_message(many: Steps) -> None:
    assert len(many.sent) < 100 * MANY


def test_statistics_take_no_memory_for_workers_that_there_never_were() -> None:
    """Every row of the table has room for a histogram of every server, of 1 KiB."""
    shared = SharedTable(4 * FEW, 64)
    (pool,) = plan_of(FEW).pools
    slots = shared.assign(pool.servers)
    servers = ServerPool(Members(pool.servers, slots), pool.algorithm, shared.table)
    assert servers.snapshot()[-1].served == 0
    assert os.fstat(shared.fd).st_blocks * 512 < 8 * 2**20
    shared.close()
