"""Processes at one table at one time: the atomic words stay right."""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import random
import resource
import signal
from time import monotonic

import pytest

from tests.support.forks import fork, in_children
from tests.support.stepping import can_step, contents_during
from tests.support.tables import table_memory
from trio_lb.fast.table import (
    ALIVE,
    DEAD,
    LeastConnections,
    RoundRobin,
    Table,
    WeightedRoundRobin,
    table_size,
)
from trio_lb.plan import Address, Algorithm, ServerPlan
from trio_lb.pool import SharedTable, attach
from trio_lb.pool.algorithms import ALGORITHMS

ROUNDS = 400_000  # long enough for the processes to run at one time, also on a busy machine
KILLS = 100


def test_slots_are_never_oversold_nor_lost() -> None:
    memory = table_memory(1, 3)
    parent = Table(memory)
    parent.add(1, 2)

    def hammer(worker: int) -> bool:
        table = Table(memory, worker)
        taken = 0
        good = True
        for _ in range(100 * ROUNDS):  # others may be interrupted while they hold both slots
            if taken == ROUNDS:
                break
            if table.acquire(0):
                taken += 1
                good = good and 1 <= table.connections(0) <= 2
                table.completed(0, 1, 1)
                table.release(0)
        return good and taken == ROUNDS

    in_children(3, hammer)
    assert parent.connections(0) == 0
    _, active, served, _, received, *_ = parent.read(0)
    assert active == 0
    assert served == received == 3 * ROUNDS


def test_turns_of_round_robin_hold_across_processes() -> None:
    memory = table_memory(3, 2)
    parent = Table(memory)
    for _ in range(3):
        parent.add()

    def work(worker: int) -> bool:
        table = Table(memory, worker)
        selection = RoundRobin(table)
        for _ in range(ROUNDS):
            slot = selection.pick(1.0)
            if slot is None:
                return False
            table.completed(slot, 0, 0)
            table.release(slot)
        return True

    in_children(2, work)
    served = [parent.read(slot)[2] for slot in range(3)]
    assert sum(served) == 2 * ROUNDS
    assert max(served) - min(served) <= 1


def test_two_processes_never_take_out_both_of_the_last_two() -> None:
    memory = table_memory(2, 2)
    parent = Table(memory)
    parent.add()
    parent.add()

    def fight(worker: int) -> bool:
        table = Table(memory, worker)
        good = True
        for _ in range(ROUNDS):
            if table.move(worker, ALIVE, DEAD, among=(0, 1)):
                good = good and table.state(1 - worker) == ALIVE
                table.move(worker, DEAD, ALIVE)
        return good

    in_children(2, fight)
    assert parent.alive == 2


def test_shares_of_weighted_round_robin_hold_in_sum_across_processes() -> None:
    memory = table_memory(3, 4)
    parent = Table(memory)
    weights = [5, 2, 1]
    for weight in weights:
        parent.add(weight)

    def work(number: int) -> bool:
        table = Table(memory, number + 1)
        selection = WeightedRoundRobin(table)
        for _ in range(10_000 + 77 * number):
            slot = selection.pick(1.0)
            if slot is None:
                return False
            table.completed(slot, 0, 0)
            table.release(slot)
        return True

    in_children(3, work)
    served = [parent.read(slot)[2] for slot in range(3)]
    for slot, weight in enumerate(weights):
        assert abs(served[slot] - sum(served) * weight / sum(weights)) < 2 * 3


@can_step
def test_turn_for_which_another_worker_was_faster_is_not_charged() -> None:
    memory = table_memory(2, 2)
    table, other = Table(memory, 0), Table(memory, 1)
    table.add(3, 1)
    table.add(1)
    selection = WeightedRoundRobin(table)

    def work() -> None:
        for _ in range(3):
            slot = selection.pick(1.0)
            assert slot is not None
            table.completed(slot, 0, 0)
            table.release(slot)

    taken = False
    for step, _ in enumerate(contents_during(work, memory)):
        if step == 0:  # server 0 is chosen, its only slot not yet taken
            taken = other.acquire(0)
            assert taken
        elif taken and other.connections(1):
            other.release(0)
            taken = False
    # The first request went to server 1; then the order is that of a fresh start: a a b a.
    assert [table.read(slot)[2] for slot in range(2)] == [2, 1]


def test_workers_killed_at_any_moment_leave_nothing() -> None:
    limits = [3, 2]
    shared = SharedTable(2, 3)
    shared.assign(
        [
            ServerPlan(
                name=str(port), address=Address(host="127.0.0.1", port=port), max_connections=limit
            )
            for port, limit in enumerate(limits, 1)
        ]
    )
    rng = random.Random(5)
    workers: dict[int, int] = {}  # row -> pid

    def within_limits(table: Table) -> bool:
        return all(table.connections(slot) <= limit for slot, limit in enumerate(limits))

    def hammer(row: int) -> bool:
        table = attach(shared.fd, row)
        selection = LeastConnections(table)
        while within_limits(table):
            held = [slot for slot in (selection.pick(1.0), selection.pick(1.0)) if slot is not None]
            for slot in held:
                table.completed(slot, 1, 0)
                table.release(slot)
        return False

    def start() -> None:
        row = shared.lease()
        workers[row] = fork(lambda: hammer(row))

    def kill(row: int) -> int:
        pid = workers.pop(row)
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        given_back = shared.retire(row)
        assert 0 <= given_back <= 2
        return given_back

    for _ in range(3):
        start()
    given_back = 0
    try:
        for _ in range(KILLS):
            until = monotonic() + rng.uniform(0.0, 0.02)
            while monotonic() < until:
                assert within_limits(shared.table)
            given_back += kill(rng.choice(list(workers)))
            start()
    finally:
        for row in list(workers):
            given_back += kill(row)
    assert [shared.table.connections(slot) for slot in range(2)] == [0, 0]
    assert given_back > 0  # some were killed while they held something
    figures = [shared.table.read(slot) for slot in range(2)]
    served, received = sum(each[2] for each in figures), sum(each[4] for each in figures)
    assert 0 <= served - received <= KILLS + 3  # one by who was killed between the two
    assert sum(each[1] for each in figures) == 0
    shared.close()


PROTECT_NONE = 0


@pytest.mark.parametrize("algorithm", Algorithm)
def test_pick_touches_no_row_but_its_own(algorithm: Algorithm) -> None:
    """So its cost is the same for one worker or hundreds: the others' rows can't even be read."""
    servers, rows = 64, 32
    size = table_size(servers, rows)
    memory = table_memory(servers, rows)
    owner = Table(memory)
    for slot in range(servers):
        owner.add(1 + slot % 3, 5)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    row_size = (table_size(servers, rows) - table_size(servers, 1)) // (rows - 1)
    others = size - (rows - 3) * row_size  # rows 3 and following; ours is row 1
    others += -others % mmap.PAGESIZE

    def use(touch_others: bool) -> bool:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.disable()
        table = Table(memory, 1)
        selection = ALGORITHMS[algorithm](table)
        length = ctypes.c_size_t(size - others)
        if ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + others), length, PROTECT_NONE):
            return False
        for _ in range(200):
            slot = selection.pick(1.0, (3,))
            if slot is None:
                return False
            table.answered(slot, 1.0, 0.5)
            table.completed(slot, 1, 1)
            table.failed(slot, 1.0, 0.1)
            table.release(slot)
        return not touch_others or table.process(rows - 1) is not None

    assert os.waitpid(fork(lambda: use(False)), 0)[1] == 0
    assert os.waitpid(fork(lambda: use(True)), 0)[1] == signal.SIGSEGV
