"""Rise and fall."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_lb.pool import HealthTracker, State


def states_after(tracker: HealthTracker, results: str, state: State = State.ALIVE) -> str:
    """Checks passed (+) and failed (-); the states after each (A alive, D dead)."""
    shown = ""
    for result in results:
        state = tracker.observe(result == "+", state)
        shown += state.name[0]
    return shown


@pytest.mark.parametrize(
    ("rise", "fall", "results", "states"),
    [
        (1, 1, "+-+--+", "ADADDA"),
        (2, 3, "--+---+-++", "AAAAADDDDA"),
        (3, 1, "-++-+++-", "DDDDDDAD"),
    ],
)
def test_results_in_a_row_decide(rise: int, fall: int, results: str, states: str) -> None:
    assert states_after(HealthTracker(rise, fall), results) == states


def test_passes_from_before_a_failure_elsewhere_do_not_count() -> None:
    tracker = HealthTracker(rise=2, fall=3)
    assert states_after(tracker, "+++++") == "AAAAA"
    assert states_after(tracker, "++", State.DEAD) == "DA"  # marked down by another process


def test_failures_from_before_coming_back_do_not_count() -> None:
    tracker = HealthTracker(rise=1, fall=2)
    assert states_after(tracker, "-") == "A"
    assert states_after(tracker, "-", State.DEAD) == "D"
    assert states_after(tracker, "--") == "AD"


def test_verdict_stands_while_nobody_carries_it_out() -> None:
    tracker = HealthTracker(rise=1, fall=2)
    assert [tracker.observe(False, State.ALIVE).name for _ in range(4)] == [
        "ALIVE",
        "DEAD",
        "DEAD",
        "DEAD",
    ]


def test_draining_server_stays_so() -> None:
    tracker = HealthTracker(rise=1, fall=1)
    for ok in (True, False, True):
        assert tracker.observe(ok, State.DRAINING) is State.DRAINING


@given(st.integers(1, 4), st.integers(1, 4), st.text("+-", max_size=40))
def test_a_change_needs_exactly_so_many_results_against_the_state(
    rise: int, fall: int, results: str
) -> None:
    states = "A" + states_after(HealthTracker(rise, fall), results)
    since = 0
    for place, (old, new) in enumerate(pairwise(states), start=1):
        needed, against = (fall, "-") if old == "A" else (rise, "+")
        in_a_row = results[since:place].endswith(against * needed)
        assert (new != old) == in_a_row
        if new != old:
            since = place


@pytest.mark.parametrize(("rise", "fall"), [(0, 1), (1, 0), (-1, 1)])
def test_rise_and_fall_are_at_least_one(rise: int, fall: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        HealthTracker(rise, fall)
