"""Permits for clients: never one too many, over all processes, and none lost with the dead."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forks import in_children
from tests.support.tables import table_memory
from trio_lb.fast.table import Permits, Table

ROWS = 4
ROUNDS = 1_000_000  # without the barriers, this fails now and then


def rows(number: int = ROWS) -> tuple[list[Table], list[Permits]]:
    """Tables and places of so many processes."""
    memory = table_memory(1, number)
    tables = [Table(memory, row) for row in range(number)]
    return tables, [Permits(table) for table in tables]


def test_places_are_those_of_all_processes_together() -> None:
    _, [one, two, *_] = rows()
    assert [one.take(3), two.take(3), one.take(3), two.take(3), one.take(3)] == [True] * 3 + [
        False
    ] * 2
    assert (one.taken, two.taken) == (2, 1)
    two.give_back()
    assert [one.take(3), two.take(3)] == [True, False]
    assert two.take(4)


def test_nobody_gives_back_what_he_has_not() -> None:
    _, [one, two, *_] = rows()
    assert one.take(1)
    assert one.take_for(7, 1)
    for places in (two, two):
        with pytest.raises(RuntimeError, match="no place is taken in row 1"):
            places.give_back()
        with pytest.raises(RuntimeError, match="counted there in row 1"):
            places.give_back_for(7)
    one.give_back()
    one.give_back_for(7)
    with pytest.raises(RuntimeError, match="no place is taken in row 0"):
        one.give_back()
    assert two.take(1)
    assert two.take_for(7, 1)


def test_addresses_are_counted_by_themselves_over_all_processes() -> None:
    _, [one, two, *_] = rows()
    assert [one.take_for(1, 2), two.take_for(1, 2), one.take_for(1, 2)] == [True, True, False]
    assert [two.take_for(2, 2), two.take_for(2, 2), one.take_for(2, 2)] == [True, True, False]
    one.give_back_for(1)
    assert [two.take_for(1, 2), one.take_for(1, 2)] == [True, False]


@given(
    st.lists(
        st.tuples(st.integers(0, ROWS - 1), st.integers(0, 2**64 - 1), st.booleans()), max_size=60
    ),
    st.integers(1, 3),
)
def test_any_order_of_comings_and_goings(moves: list[tuple[int, int, bool]], most: int) -> None:
    _, places = rows()
    here: Counter[tuple[int, int]] = Counter()
    for row, address, comes in moves:
        address %= 5 if address % 2 else 2**64
        held = sum(number for (_, other), number in here.items() if other == address)
        if comes:
            # With so few addresses none shares all of its counters with others.
            assert places[row].take_for(address, most) == (held < most)
            here[row, address] += held < most
        elif here[row, address]:
            places[row].give_back_for(address)
            here[row, address] -= 1


def test_thousands_of_addresses_get_hardly_in_each_others_way() -> None:
    _, [one, two, *_] = rows()
    addresses = [number * 0x1_0000_0001 for number in range(20_000)]
    taken = [[one, two][number % 2].take_for(number, 5) for number in addresses]
    # Each counter has 2.4 of others on average: hardly ever do all four have 5.
    assert taken.count(False) < 200


def test_a_dead_process_takes_its_places_along() -> None:
    [owner, _, dead, *_], [_, alive, deads, *_] = rows()
    for _ in range(3):
        assert deads.take(5)
        assert deads.take_for(7, 5)
    dead.client_refused()
    dead.client_let_go()
    dead.accepting_paused()
    dead.took_slow_path(6)
    for _ in range(2):
        assert alive.take(5)
        assert alive.take_for(7, 5)
    assert not alive.take(5)
    assert not alive.take_for(7, 5)
    owner.retire(2)
    assert deads.taken == 0
    assert owner.clients()[4:] == owner.clients(0)[4:] == (1, 1, 1, (0, 0, 0, 0, 0, 0, 1))
    assert [deads.take(5) for _ in range(4)] == [True] * 3 + [False]
    assert [deads.take_for(7, 5) for _ in range(4)] == [True] * 3 + [False]


def test_wants_are_those_of_others_and_pass() -> None:
    [owner, *_], [_, one, two, _] = rows()
    assert not one.wanted(0, 10)
    two.want(100)
    assert one.wanted(100.4, 0.5)
    assert not two.wanted(100.4, 0.5)
    assert not one.wanted(100.6, 0.5)
    one.want(200)
    assert [two.wanted(200, 0.5), one.wanted(200, 0.5)] == [True, False]
    owner.retire(1)
    assert not two.wanted(200, 0.5)


@pytest.mark.parametrize("kind", ["all", "address"])
def test_there_never_is_one_too_many_however_many_come_at_once(kind: str) -> None:
    """Each process counts itself in where the others see it, and out before it leaves."""
    memory = table_memory(1, 3)
    parent = Permits(Table(memory, 0))
    inside = table_memory(1, 3)  # its connections are the count that can't be wrong
    seen = Table(inside)
    seen.add(1, 1)

    def come_and_go(row: int) -> bool:
        places, witness = Permits(Table(memory, row)), Table(inside, row)
        for _ in range(ROUNDS):
            if places.take(1) if kind == "all" else places.take_for(7, 1):
                if not witness.acquire(0):
                    return False
                witness.completed(0, 0, 0)
                witness.release(0)
                if kind == "all":
                    places.give_back()
                else:
                    places.give_back_for(7)
        return True

    in_children(3, come_and_go)
    _, active, served, *_ = seen.read(0)
    assert active == 0
    assert served > 0
    assert [parent.take(1), parent.take(1)] == [True, False]
    assert [parent.take_for(7, 1), parent.take_for(7, 1)] == [True, False]
