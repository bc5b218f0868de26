"""The table against a plain model: processes that work, stop half-way and die in any order."""

from __future__ import annotations

import mmap
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.support.effort import effort
from tests.support.table_model import LARGEST, LINE, SteppedRow, run
from trio_lb.fast.table import ALIVE, DEAD, Table
from trio_lb.plan import Address, ServerPlan
from trio_lb.pool import NoRoom, SharedTable, attach

if TYPE_CHECKING:
    from tests.support.table_model import Steps

SLOTS, WORKERS = 3, 3
PORTS = st.lists(st.integers(1, 5), min_size=1, max_size=SLOTS, unique=True)


@dataclass
class Worker:
    """A process: what it truly holds, and what it is about to do."""

    table: Table
    stepped: SteppedRow
    held: Counter[int] = field(default_factory=Counter)
    clients: int = 0
    steps: Steps | None = None
    overtaken: bool = False  # a maximum was changed between two of the steps
    dead: bool = False


@dataclass
class Figures:
    """What was done for a server, by anybody ever."""

    served: int = 0
    failed: int = 0
    received: int = 0


def server(port: int, most: int) -> ServerPlan:
    return ServerPlan(
        name=str(port), address=Address(host="127.0.0.1", port=port), max_connections=most
    )


class Processes(RuleBasedStateMachine):
    """An owner and workers at one table. An operation is carried out by the compiled code at
    once, or by its model in steps, between which the others go on."""

    @initialize(ports=PORTS, most=st.integers(1, 3))
    def set_up(self, ports: list[int], most: int) -> None:
        self.shared = SharedTable(SLOTS, WORKERS)
        self.owner = self.shared.table
        self.memory = mmap.mmap(self.shared.fd, 0)
        self.workers: dict[int, Worker] = {}
        self.figures: dict[int, Figures] = {}
        self.permits: dict[int, int] = {}  # port -> slot
        self.known: set[int] = set()  # to some worker that was not retired
        self.clients = 0
        self.assign(ports, most)
        self.start()

    def teardown(self) -> None:
        if not hasattr(self, "shared"):
            return
        for row in list(self.workers):
            self.bury(row)
        assert [self.owner.connections(slot) for slot in self.owner.slots()] == [0] * len(
            self.permits
        )
        assert self.owner.clients()[:2] == (0, self.clients)
        self.shared.close()

    # The owner

    @rule(ports=PORTS, most=st.integers(0, 3))
    def assign(self, ports: list[int], most: int) -> None:
        """A reload; also the maximum of servers that stay changes."""
        servers = [server(port, most) for port in ports]
        new = [port for port in ports if port not in self.permits]
        if len(new) > SLOTS - len(self.permits):
            with pytest.raises(NoRoom):
                self.shared.assign(servers)
            return
        slots = self.shared.assign(servers)
        self.shared.adjust(servers, slots)
        for worker in self.workers.values():
            worker.overtaken = worker.steps is not None
        for port, slot in zip(ports, slots, strict=True):
            if port in new:
                assert slot not in self.permits.values()
                self.permits[port] = slot
                self.figures[slot] = Figures()
            assert self.permits[port] == slot
            assert self.owner.read(slot)[8] == most

    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        port = data.draw(st.sampled_from(sorted(self.permits)))
        slot = self.permits[port]
        if slot in self.known:
            if self.true_total(slot):
                with pytest.raises(RuntimeError):
                    self.shared.free(slot)
            return
        generation = self.owner.generation(slot)
        self.shared.free(slot)
        with pytest.raises(IndexError):
            self.owner.read(slot)
        del self.permits[port], self.figures[slot]
        if not self.permits:
            self.assign([port], 1)
            assert self.owner.generation(self.permits[port]) >= 1
        if slot in self.permits.values():
            assert self.owner.generation(slot) == generation + 1

    @rule()
    def start(self) -> None:
        if len(self.workers) == WORKERS:
            with pytest.raises(NoRoom):
                self.shared.lease()
            return
        row = self.shared.lease()
        stepped = SteppedRow(self.memory, SLOTS, WORKERS + 1, row)
        self.workers[row] = Worker(attach(self.shared.fd, row), stepped)

    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """Wherever it is in what it does."""
        if self.workers:
            self.workers[data.draw(st.sampled_from(sorted(self.workers)))].dead = True

    @rule()
    def retire_the_dead(self) -> None:
        for row in [row for row, worker in self.workers.items() if worker.dead]:
            self.bury(row)
            assert self.shared.retire(row) == 0

    def bury(self, row: int) -> None:
        worker = self.workers.pop(row)
        assert self.shared.retire(row) == worker.held.total()
        if not self.workers:
            self.known.clear()

    @rule(data=st.data())
    def mark_down_and_up(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.permits.values())))
        assert self.owner.move(slot, ALIVE, DEAD)
        assert self.owner.move(slot, DEAD, ALIVE)

    # A worker

    def worker(self, data: st.DataObject) -> tuple[Worker, int] | None:
        """One that lives, and a slot."""
        living = [row for row, worker in self.workers.items() if not worker.dead]
        if not living:
            return None
        worker = self.workers[data.draw(st.sampled_from(living))]
        slot = data.draw(st.sampled_from(sorted(self.permits.values())))
        self.known.add(slot)
        return worker, slot

    @rule(data=st.data(), acquire=st.booleans())
    def at_once(self, data: st.DataObject, acquire: bool) -> None:
        drawn = self.worker(data)
        if drawn is None or drawn[0].steps is not None:
            return
        worker, slot = drawn
        if acquire:
            room = self.true_total(slot) < (self.owner.read(slot)[8] or 10**9)
            assert worker.table.acquire(slot) == room
            worker.held[slot] += room
        elif worker.held[slot]:
            worker.table.release(slot)
            worker.held[slot] -= 1
        else:
            with pytest.raises(RuntimeError):
                worker.table.release(slot)

    @rule(data=st.data(), acquire=st.booleans(), count=st.integers(1, 4))
    def step(self, data: st.DataObject, acquire: bool, count: int) -> None:
        """Begin something, or go on with what was begun."""
        drawn = self.worker(data)
        if drawn is None:
            return
        worker, slot = drawn
        if worker.steps is None:
            steps = worker.stepped.acquire(slot) if acquire else worker.stepped.release(slot)
            worker.steps = steps
            worker.overtaken = False
        for _ in range(count):
            before = self.totals()
            ended = next(worker.steps, "end") is not None
            for at, total in self.totals().items():
                change = total - before[at]
                limit = self.owner.read(at)[8]
                # One who had looked at the maximum before it was lowered still takes its slot.
                assert change <= 0 or not limit or total <= limit or worker.overtaken
                worker.held[at] += change
            if ended:
                worker.steps = None
                return

    @rule(data=st.data(), size=st.integers(0, 9))
    def results(self, data: st.DataObject, size: int) -> None:
        drawn = self.worker(data)
        if drawn is None:
            return
        worker, slot = drawn
        figures = self.figures[slot]
        worker.table.answered(slot, 1.0, 0.5)
        worker.table.completed(slot, size, 0)
        worker.table.failed(slot, 1.0, 0.1)
        worker.table.client_opened()
        worker.clients += 1
        figures.served += 1
        figures.failed += 1
        figures.received += size
        self.clients += 1

    def totals(self) -> dict[int, int]:
        return {slot: self.owner.connections(slot) for slot in self.permits.values()}

    def true_total(self, slot: int) -> int:
        return sum(worker.held[slot] for worker in self.workers.values())

    @invariant()
    def sums_are_right(self) -> None:
        if not hasattr(self, "shared"):
            return
        assert self.owner.alive == len(self.permits) == len(self.owner)
        for slot, figures in self.figures.items():
            assert self.owner.connections(slot) == self.true_total(slot)
            _, _, served, failed, received, *_ = self.owner.read(slot)
            assert (served, failed, received) == (figures.served, figures.failed, figures.received)
            assert (self.owner.quantile(slot, 0.5) is None) == (figures.served == 0)
        held = sum(worker.clients for worker in self.workers.values())
        assert self.owner.clients()[:2] == (held, self.clients)


def test_processes_agree_with_the_model() -> None:
    thorough = effort(200, stateful_step_count=60, deadline=None, derandomize=True)
    run_state_machine_as_test(Processes, settings=thorough)


def test_model_alone_takes_and_gives_back() -> None:
    shared = SharedTable(1, 1)
    (slot,) = shared.assign([server(1, 2)])
    stepped = SteppedRow(mmap.mmap(shared.fd, 0), 1, 2, shared.lease())
    assert [run(stepped.acquire(slot)) for _ in range(3)] == [True, True, False]
    assert shared.table.connections(slot) == 2
    assert [run(stepped.release(slot)) for _ in range(3)] == [True, True, False]
    assert shared.table.connections(slot) == 0
    shared.close()


def test_numbers_begin_anew_after_the_largest() -> None:
    shared = SharedTable(1, 2)
    (slot,) = shared.assign([server(1, 2)])
    memory = mmap.mmap(shared.fd, 0)
    row, other = shared.lease(), attach(shared.fd, shared.lease())
    stepped, table = SteppedRow(memory, 1, 3, row), attach(shared.fd, row)
    at = stepped.counters + slot * LINE
    stepped.store("I", at + 8, (LARGEST - 1) * 2)
    stepped.store("Q", at, (LARGEST - 1) << 32)
    numbers = []
    for _ in range(2):
        assert table.acquire(slot)
        table.release(slot)
        numbers.append(stepped.load("I", at + 8) >> 1)
        assert other.acquire(slot)
        other.release(slot)
    assert numbers == [1, 3]
    steps = stepped.acquire(slot)
    for _ in range(3):
        next(steps)
    assert other.acquire(slot)
    assert (shared.table.connections(slot), shared.retire(row)) == (2, 1)
    assert shared.table.connections(slot) == 1
    shared.close()
