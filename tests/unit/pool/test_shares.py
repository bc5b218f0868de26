"""What each algorithm promises about who gets how much."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.tables import table_memory, table_of
from trio_lb.fast.table import (
    ALIVE,
    DEAD,
    DRAINING,
    LeastConnections,
    LeastResponseTime,
    RoundRobin,
    Selection,
    Table,
    WeightedLeastConnections,
    WeightedLeastResponseTime,
    WeightedRoundRobin,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def pick(selection: Selection, tried: tuple[int, ...] = ()) -> int:
    slot = selection.pick(1.0, tried)
    assert slot is not None
    return slot


def idle_picks(table: Table, selection: Selection, count: int) -> list[int]:
    """Picks of requests that never overlap."""
    picks = []
    for _ in range(count):
        picks.append(pick(selection))
        table.release(picks[-1])
    return picks


ALL = [
    RoundRobin,
    WeightedRoundRobin,
    LeastConnections,
    WeightedLeastConnections,
    LeastResponseTime,
    WeightedLeastResponseTime,
]


@pytest.mark.parametrize("algorithm", ALL)
class TestEveryAlgorithm:
    def test_first_pick_is_the_first_server_and_equals_take_turns(
        self, algorithm: type[Selection]
    ) -> None:
        table = table_of([1, 1, 1])
        assert idle_picks(table, algorithm(table), 9) == [0, 1, 2] * 3

    def test_the_rest_share_equally_while_one_is_dead(self, algorithm: type[Selection]) -> None:
        table = table_of([1, 1, 1, 1])
        selection = algorithm(table)
        idle_picks(table, selection, 6)
        table.move(2, ALIVE, DEAD)
        assert Counter(idle_picks(table, selection, 30)) == {0: 10, 1: 10, 3: 10}

    def test_dead_draining_full_and_tried_servers_are_not_picked(
        self, algorithm: type[Selection]
    ) -> None:
        table = table_of([9, 9, 1, 1, 9], [0, 0, 2, 1, 0])
        selection = algorithm(table)
        table.move(0, ALIVE, DEAD)
        table.move(1, ALIVE, DRAINING)
        assert sorted(pick(selection, (4, 4)) for _ in range(3)) == [2, 2, 3]
        assert selection.pick(1.0, (4,)) is None
        assert pick(selection) == 4
        table.release(3)
        assert pick(selection, (4,)) == 3

    def test_nobody_is_picked_when_nobody_is_there(self, algorithm: type[Selection]) -> None:
        table = table_of([1])
        table.move(0, ALIVE, DEAD)
        assert algorithm(table).pick(1.0) is None

    def test_tried_slot_that_does_not_exist_is_refused_and_nothing_is_left_marked(
        self, algorithm: type[Selection]
    ) -> None:
        table = table_of([1, 1])
        selection = algorithm(table)
        for wrong in ((0, 2), (0, -1)):
            with pytest.raises(IndexError, match="no server in slot"):
                selection.pick(1.0, wrong)
        with pytest.raises(TypeError):
            selection.pick(1.0, (0, "1"))  # type: ignore[arg-type]  # what is tested
        assert (table.connections(0), table.connections(1)) == (0, 0)
        assert pick(selection, (1,)) == 0

    def test_servers_of_any_number_are_all_reached(self, algorithm: type[Selection]) -> None:
        table = table_of([1] * 300, [1] * 300)
        selection = algorithm(table)
        assert {pick(selection) for _ in range(300)} == set(range(300))
        assert selection.pick(1.0) is None


def test_selection_without_algorithm_picks_nobody() -> None:
    assert Selection(table_of([1])).pick(1.0) is None


def test_round_robin_goes_on_after_the_last_picked_when_one_leaves() -> None:
    table = table_of([1, 1, 1, 1])
    selection = RoundRobin(table)
    assert idle_picks(table, selection, 2) == [0, 1]
    table.move(1, ALIVE, DEAD)
    assert idle_picks(table, selection, 4) == [2, 3, 0, 2]
    table.move(1, DEAD, ALIVE)
    assert idle_picks(table, selection, 3) == [3, 0, 1]


def names(slots: Sequence[int]) -> str:
    return " ".join("abcdef"[slot] for slot in slots)


def test_weights_five_one_one_are_spread_smoothly() -> None:
    table = table_of([5, 1, 1])
    assert names(idle_picks(table, WeightedRoundRobin(table), 14)) == " ".join(
        ["a a b a c a a"] * 2
    )


def windows_are_exact(picks: list[int], weights: dict[int, int]) -> bool:
    divisor = math.gcd(*weights.values())
    expected = Counter({slot: weight // divisor for slot, weight in weights.items()})
    length = expected.total()
    return all(
        Counter(picks[start : start + length]) == expected
        for start in range(len(picks) - length + 1)
    )


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6))
@example([20, 30, 10])
def test_every_cycle_of_weighted_round_robin_is_exact(weights: list[int]) -> None:
    table = table_of(weights)
    picks = idle_picks(table, WeightedRoundRobin(table), 3 * sum(weights))
    assert windows_are_exact(picks, dict(enumerate(weights)))


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(0, 80), st.booleans())
@example([20, 30, 10], 3, False)
@example([6, 1, 1], 5, False)
def test_weighted_ratio_is_right_among_the_rest(
    weights: list[int], before: int, full: bool
) -> None:
    """While one is dead or full, and when it is back: exact from the second cycle on."""
    table = table_of(weights, [1] + [0] * (len(weights) - 1))
    selection = WeightedRoundRobin(table)
    everybody = dict(enumerate(weights))
    rest = {slot: weight for slot, weight in everybody.items() if slot}

    def check(eligible: dict[int, int]) -> None:
        cycle = sum(eligible.values()) // math.gcd(*eligible.values())
        picks = idle_picks(table, selection, 4 * cycle)
        assert windows_are_exact(picks[cycle:], eligible)
        for slot, weight in eligible.items():
            due = weight * cycle // sum(eligible.values())
            assert abs(picks[:cycle].count(slot) - due) <= 1

    idle_picks(table, selection, before)
    assert table.acquire(0) if full else table.move(0, ALIVE, DEAD)
    check(rest)
    if full:
        table.release(0)
    else:
        table.move(0, DEAD, ALIVE)
    check(everybody)


def test_two_equals_take_turns_at_once_when_the_heavy_one_dies() -> None:
    table = table_of([1000, 1, 1])
    selection = WeightedRoundRobin(table)
    idle_picks(table, selection, 800)
    table.move(0, ALIVE, DEAD)
    picks = idle_picks(table, selection, 100)
    assert Counter(picks) == {1: 50, 2: 50}
    assert max(len(list(run)) for _, run in groupby(picks)) <= 2


@given(st.lists(st.integers(1, 100), min_size=3, max_size=5), st.integers())
@example([1000, 1, 1], 1)
def test_weighted_shares_hold_while_one_comes_and_goes(weights: list[int], seed: int) -> None:
    """Each gets what is due by the weights eligible at each pick, within two requests."""
    rng = random.Random(seed)
    table = table_of(weights)
    selection = WeightedRoundRobin(table)
    due = [0.0] * len(weights)
    picks: Counter[int] = Counter()
    for _ in range(500):
        if rng.random() < 0.5:
            table.move(0, *rng.choice([(ALIVE, DEAD), (DEAD, ALIVE)]))
        eligible = [slot for slot in range(len(weights)) if table.state(slot) == ALIVE]
        total = sum(weights[slot] for slot in eligible)
        for slot in eligible:
            due[slot] += weights[slot] / total
        picks.update(idle_picks(table, selection, 1))
        assert all(abs(picks[slot] - due[slot]) < 2 for slot in range(len(weights)))


@given(
    st.lists(st.integers(1, 100), min_size=2, max_size=8),
    st.integers(2, 6),
    st.integers(),
)
@example([5, 1, 1], 4, 1)
def test_weighted_shares_hold_in_sum_over_workers(
    weights: list[int], workers: int, seed: int
) -> None:
    """However requests are spread over them: less than two requests per worker off."""
    rng = random.Random(seed)
    memory = table_memory(len(weights), workers)
    tables = [Table(memory, row) for row in range(workers)]
    for weight in weights:
        tables[0].add(weight)
    selections = [WeightedRoundRobin(table) for table in tables]
    picks: Counter[int] = Counter()
    for total in range(1, 400):
        row = rng.randrange(workers)
        picks.update(idle_picks(tables[row], selections[row], 1))
        for slot, weight in enumerate(weights):
            assert abs(picks[slot] - total * weight / sum(weights)) < 2 * workers


@pytest.mark.parametrize("algorithm", ALL)
class TestMembers:
    def test_only_members_are_picked(self, algorithm: type[Selection]) -> None:
        table = table_of([1] * 6)
        selection = algorithm(table, [5, 1, 2, 1])
        assert idle_picks(table, selection, 6) == [1, 2, 5] * 2
        for slot in (1, 2, 5):
            table.move(slot, ALIVE, DEAD)
        assert selection.pick(1.0) is None
        assert algorithm(table, []).pick(1.0) is None

    def test_server_added_later_is_no_member(self, algorithm: type[Selection]) -> None:
        table = Table(table_memory(2))
        table.add()
        selection = algorithm(table)
        table.add()
        assert idle_picks(table, selection, 3) == [0, 0, 0]

    def test_slot_without_server_is_refused(self, algorithm: type[Selection]) -> None:
        table = Table(table_memory(2))
        table.add()
        for wrong in (1, 2, -1):
            with pytest.raises(IndexError, match="no server in slot"):
                algorithm(table, [0, wrong])

    def test_others_with_other_members_do_not_disturb_the_turns(
        self, algorithm: type[Selection]
    ) -> None:
        table = table_of([1] * 5)
        one, other = algorithm(table, [0, 1, 4]), algorithm(table, [2, 3, 4])
        picks: Counter[int] = Counter()
        for _ in range(100):
            for selection in (one, other):
                picks.update(idle_picks(table, selection, 1))
        shares = [picks[slot] for slot in range(5)]
        assert shares[:4] == pytest.approx([33, 33, 33, 33], abs=1)
        assert sum(shares) == 200

    def test_weight_changed_at_run_time_holds_from_the_next_pick(
        self, algorithm: type[Selection]
    ) -> None:
        table = table_of([1, 1])
        selection = algorithm(table)
        idle_picks(table, selection, 5)
        table.adjust(0, 3, 0)
        table.adjust(1, 1, 2)
        assert Counter(pick(selection) for _ in range(8)) == {0: 6, 1: 2}


def test_least_connections_evens_out() -> None:
    table = table_of([1, 1, 1])
    selection = LeastConnections(table)
    for slot in (0, 0, 0, 2):
        table.acquire(slot)
    assert [pick(selection) for _ in range(5)] == [1, 2, 1, 2, 1]
    assert [table.connections(slot) for slot in range(3)] == [3, 3, 3]


def test_weighted_least_connections_compares_fractions() -> None:
    table = table_of([20, 30, 10])
    selection = WeightedLeastConnections(table)
    picks = [pick(selection) for _ in range(60)]
    assert Counter(picks) == {0: 20, 1: 30, 2: 10}
    # Integer division takes 0 to 19 connections of weight 20 for equal; fractions do not.
    assert max(picks[:12].count(slot) for slot in range(3)) == 6


def test_weighted_least_connections_is_exact_for_the_largest_numbers() -> None:
    table = table_of([65535, 65534])
    selection = WeightedLeastConnections(table)
    assert [pick(selection) for _ in range(4)] == [0, 1, 0, 1]
