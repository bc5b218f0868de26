"""A worker dies between any two instructions, and nothing of it is left.

The compiled code is run instruction by instruction; every content that memory has in between is
what a death at that point leaves. The same contents, in the same order, come from the model whose
steps the state machine in tests/oracle mixes in any way.
"""

from __future__ import annotations

import mmap
from functools import partial
from itertools import pairwise, product
from typing import TYPE_CHECKING

import pytest

from tests.support.stepping import can_step, contents_during
from tests.support.table_model import SteppedRow
from tests.support.tables import table_memory
from trio_lb.fast.table import ALIVE, DEAD, RoundRobin, Table

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS, OWNER, VICTIM, OTHER = 4, 0, 1, 2
LIMIT = 4

pytestmark = can_step


def shared_table() -> mmap.mmap:
    """A server with one connection of the victim's and one of the other's, who came last."""
    memory = table_memory(2, ROWS)
    owner = Table(memory)
    for _ in range(2):
        owner.add(1, LIMIT)
    for row in (VICTIM, OTHER):
        table = Table(memory, row)
        table.acquire(0)
        table.completed(0, 10, 1)
        table.failed(0, 1.0, 0.1)
        table.client_opened()
    return memory


def twins() -> tuple[mmap.mmap, mmap.mmap]:
    """Two tables that differ in nothing."""
    one = shared_table()
    other = mmap.mmap(-1, len(one))
    other[:] = one[:]
    return one, other


def nothing(memory: mmap.mmap) -> None:
    """Nobody else does anything."""


def busy(row: int, times: int) -> Callable[[mmap.mmap], None]:
    """A process takes as many slots as it gets, up to `times`, and gives them back."""

    def use(memory: mmap.mmap) -> None:
        table = Table(memory, row)
        for _ in range([table.acquire(0) for _ in range(times)].count(True)):
            table.release(0)

    return use


BEFORE = {
    "nothing": nothing,
    "other": busy(OTHER, 1),
    "victim": busy(VICTIM, 1),
    "full for a moment": busy(OTHER, LIMIT),
}
AFTERWARDS = [nothing, busy(OTHER, 1), busy(OTHER, LIMIT)]


def operation(name: str, memory: mmap.mmap) -> Callable[[], object]:
    return partial(getattr(Table(memory, VICTIM), name), 0)


def check_burial(content: bytes, afterwards: Callable[[mmap.mmap], None]) -> None:
    """The victim died and left `content`; others went on; then its row is settled and used."""
    memory = mmap.mmap(-1, len(content))
    memory[:] = content
    owner, other = Table(memory, OWNER), Table(memory, OTHER)
    afterwards(memory)
    before = owner.connections(0)
    assert owner.retire(VICTIM) == before - 1
    assert (owner.connections(0), owner.retire(VICTIM)) == (1, 0)
    assert owner.read(0) == (ALIVE, 1, 2, 2, 20, 2, None, 1, LIMIT)
    assert owner.read(0, VICTIM)[1:6] == (0, 0, 0, 0, 0)
    assert owner.clients() == (1, 2, (0,) * 6, 0, 0, 0, 0, (0,) * 7)
    successor = Table(memory, VICTIM)
    assert [successor.acquire(0) for _ in range(LIMIT)] == [True] * (LIMIT - 1) + [False]
    other.release(0)
    assert owner.retire(VICTIM) == LIMIT - 1
    assert owner.connections(0) == 0


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("name", ["acquire", "release"])
def test_death_anywhere_leaves_nothing(name: str, before: str) -> None:
    memory = shared_table()
    BEFORE[before](memory)
    contents = [memory[:], *contents_during(operation(name, memory), memory)]
    assert 4 <= len(contents) <= 5
    for content, afterwards in product(contents, AFTERWARDS):
        check_burial(content, afterwards)


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("name", ["acquire", "release"])
def test_steps_are_those_of_the_model(name: str, before: str) -> None:
    compiled, stepped = twins()
    BEFORE[before](compiled)
    BEFORE[before](stepped)
    contents = [stepped[:]]
    steps = getattr(SteppedRow(stepped, 2, ROWS, VICTIM), name)(0)
    contents += [stepped[:] for _ in steps] + [stepped[:]]
    changes = [new for old, new in pairwise(contents) if new != old]
    assert list(contents_during(operation(name, compiled), compiled)) == changes


@pytest.mark.parametrize("moment", range(3))
@pytest.mark.parametrize("name", ["acquire", "release"])
def test_death_anywhere_leaves_nothing_when_another_was_faster(name: str, moment: int) -> None:
    memory = shared_table()
    for step, content in enumerate(contents_during(operation(name, memory), memory)):
        check_burial(content, nothing)
        check_burial(content, busy(OTHER, 1))
        if step == moment:
            busy(OTHER, 1)(memory)


def test_death_anywhere_leaves_nothing_when_another_takes_the_last_slot() -> None:
    memory = shared_table()
    other = Table(memory, OTHER)
    for step, _ in enumerate(contents_during(operation("acquire", memory), memory)):
        if step == 0:
            assert [other.acquire(0), other.acquire(0)] == [True, True]
        assert other.connections(0) == LIMIT
        after = mmap.mmap(-1, len(memory))
        after[:] = memory[:]
        assert Table(after).retire(VICTIM) == 1
        assert Table(after).connections(0) == LIMIT - 1


def test_death_within_a_pick_leaves_nothing() -> None:
    memory = shared_table()
    table = Table(memory, VICTIM)
    selection = RoundRobin(table, [0])
    count = 0
    for content in contents_during(lambda: selection.pick(1.0), memory):
        check_burial(content, nothing)
        count += 1
    assert count == 5  # turn taken, then the four steps


def test_death_while_taking_out_a_server_does_not_keep_others_from_it() -> None:
    memory = shared_table()
    victim = Table(memory, VICTIM)
    action = lambda: victim.move(0, ALIVE, DEAD, among=(0, 1))  # noqa: E731
    contents = [memory[:], *contents_during(action, memory)]
    assert len(contents) == 5  # before, taker, state, its being counted, no taker
    for content in contents:
        after = mmap.mmap(-1, len(content))
        after[:] = content
        owner, other = Table(after, OWNER), Table(after, OTHER)
        owner.retire(VICTIM)
        state = owner.state(0)
        assert other.move(0, ALIVE, DEAD, among=(0, 1)) == (state == ALIVE)
        assert not other.move(1, ALIVE, DEAD, among=(0, 1))
        assert other.move(1, ALIVE, DEAD)
