"""Every compiled algorithm against its model, pick by pick, through any history of a pool."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support import selection_models as models
from tests.support.effort import effort
from tests.support.tables import table_of
from trio_lb.config import Algorithm
from trio_lb.fast.table import ALIVE, DEAD, DRAINING
from trio_lb.pool.algorithms import ALGORITHMS

MODELS: dict[Algorithm, type[models.RoundRobinModel]] = {
    Algorithm.ROUND_ROBIN: models.RoundRobinModel,
    Algorithm.WEIGHTED_ROUND_ROBIN: models.WeightedRoundRobinModel,
    Algorithm.LEAST_CONNECTIONS: models.LeastConnectionsModel,
    Algorithm.WEIGHTED_LEAST_CONNECTIONS: models.WeightedLeastConnectionsModel,
    Algorithm.LEAST_RESPONSE_TIME: models.LeastResponseTimeModel,
    Algorithm.WEIGHTED_LEAST_RESPONSE_TIME: models.WeightedLeastResponseTimeModel,
}

WEIGHTS = st.one_of(st.integers(1, 6), st.sampled_from([20, 30, 10, 65535]))
SERVERS = st.lists(st.tuples(WEIGHTS, st.integers(0, 4)), min_size=1, max_size=6)


DAY = 86_400_000
#: Where bits of a time carry over, and beyond; the system may have been up for long.
UPTIMES = st.one_of(
    st.just(1000), st.builds(lambda n, off: n * 2**31 + off, st.integers(1, 9), st.integers(-50, 5))
)
WAITS = st.one_of(
    st.integers(1, 5000),
    st.sampled_from([100_000, 200_000, DAY, 25 * DAY, 40 * DAY, 200 * DAY]),
    st.builds(lambda n, off: n * 2**31 + off, st.integers(1, 3), st.integers(-3000, 3000)),
)


class Pool(RuleBasedStateMachine):
    """A table and an algorithm on one side, a list of servers and a model on the other."""

    algorithm: ClassVar[Algorithm]

    @initialize(servers=SERVERS, uptime=UPTIMES)
    def set_up(self, servers: list[tuple[int, int]], uptime: int) -> None:
        weights, self.maxima = zip(*servers, strict=True)
        self.table = table_of(weights, self.maxima)
        self.selection = ALGORITHMS[self.algorithm](self.table)
        self.servers = [models.ModelServer(weight) for weight in weights]
        self.states = [ALIVE] * len(servers)
        self.model = MODELS[self.algorithm](self.servers)
        self.held: list[int] = []
        self.now_ms = uptime

    @property
    def now(self) -> float:
        return (self.now_ms + 0.5) / 1000.0

    def slot(self, data: st.DataObject) -> int:
        return data.draw(st.integers(0, len(self.servers) - 1))

    @rule(data=st.data(), times=st.integers(1, 12))
    def pick(self, data: st.DataObject, times: int) -> None:
        tried = tuple(data.draw(st.sets(st.integers(0, len(self.servers) - 1), max_size=2)))
        for _ in range(times):
            eligible = [
                slot
                for slot, server in enumerate(self.servers)
                if self.states[slot] == ALIVE
                and slot not in tried
                and (server.connections < self.maxima[slot] or not self.maxima[slot])
            ]
            expected = self.model.choose(eligible, self.now_ms) if eligible else None
            assert self.selection.pick(self.now, tried) == expected
            if expected is None:
                return
            self.servers[expected].connections += 1
            self.held.append(expected)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        slot = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.table.release(slot)
        self.servers[slot].connections -= 1

    @rule(
        data=st.data(),
        milliseconds=st.integers(0, 20_000),
        status=st.sampled_from([200, 200, 404, 500, 501, 503, 505]),
    )
    def answer(self, data: st.DataObject, milliseconds: int, status: int) -> None:
        slot = self.slot(data)
        seconds = milliseconds / 1000.0
        self.table.answered(slot, self.now, seconds, status)
        if status in (500, 503):
            self.model_fails(slot, seconds, answered=True)
        else:
            self.servers[slot].answered(self.now_ms, max(seconds * 1e6, 1.0))

    @rule(data=st.data(), milliseconds=st.integers(0, 20_000))
    def fail(self, data: st.DataObject, milliseconds: int) -> None:
        slot = self.slot(data)
        self.table.failed(slot, self.now, milliseconds / 1000.0)
        self.model_fails(slot, milliseconds / 1000.0, answered=False)

    def model_fails(self, slot: int, seconds: float, *, answered: bool) -> None:
        others = [
            server
            for other, server in enumerate(self.servers)
            if other != slot and self.states[other] == ALIVE
        ]
        micros = max(seconds * 1e6, 1.0)
        self.servers[slot].failed(self.now_ms, micros, others, answered=answered)

    @rule(milliseconds=WAITS)
    def wait(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    @rule(data=st.data(), old=st.sampled_from([ALIVE, DEAD, DRAINING]),
          new=st.sampled_from([ALIVE, DEAD, DRAINING]))  # fmt: skip
    def move(self, data: st.DataObject, old: int, new: int) -> None:
        slot = self.slot(data)
        moved = self.states[slot] == old
        assert self.table.move(slot, old, new) == moved
        if moved:
            self.states[slot] = new
            if old == DEAD:
                self.servers[slot].average_us = None
                self.servers[slot].penalty = 0.0

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "table"):
            return
        assert self.table.alive == self.states.count(ALIVE)
        for slot, server in enumerate(self.servers):
            assert self.table.connections(slot) == server.connections
            assert self.table.state(slot) == self.states[slot]
            average = self.table.read(slot)[6]
            assert average == (server.average_us and server.average_us / 1e6)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_agrees_with_its_model(algorithm: Algorithm) -> None:
    machine = type("Pool", (Pool,), {"algorithm": algorithm})
    thorough = effort(100, stateful_step_count=40, deadline=None, derandomize=True)
    run_state_machine_as_test(machine, settings=thorough)


def test_every_algorithm_is_registered_and_has_a_model() -> None:
    assert set(ALGORITHMS) == set(MODELS) == set(Algorithm)
