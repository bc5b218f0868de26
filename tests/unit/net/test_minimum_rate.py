"""The least pace: what a peer's credit is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_lb.net.minimum_rate import MinimumRate


def waited_out(pace: MinimumRate, count: int, every: float, most: float = 10_000) -> float:
    """Seconds of waiting that a peer survives which moves so many bytes each so many seconds."""
    waited = 0.0
    while waited < most:
        step = min(every, pace.left)
        waited += step
        if step < every:
            return waited
        pace.moved(count, every)
        if pace.left <= 0:
            return waited
    return most


def test_without_a_rate_any_byte_earns_all_patience_back() -> None:
    pace = MinimumRate(30)
    pace.moved(0, 10)
    assert pace.left == 20
    pace.moved(1, 19)
    assert pace.left == 30


def test_bytes_are_worth_their_time_and_never_more_than_the_whole() -> None:
    pace = MinimumRate(30, 100)
    pace.moved(500, 10)
    assert pace.left == pytest.approx(25)
    pace.moved(1_000_000, 1)
    assert pace.left == 30


def test_nothing_moved_or_even_less_earns_nothing() -> None:
    for rate in (None, 100):
        pace = MinimumRate(30, rate)
        pace.moved(0, 1)
        pace.moved(-5, 1)
        assert pace.left == 28


def test_a_new_beginning() -> None:
    pace = MinimumRate(30, 100)
    pace.moved(0, 31)
    assert pace.left < 0
    pace.restart()
    assert pace.left == 30


@pytest.mark.parametrize(
    ("count", "every", "survives"),
    [
        (1, 1, 30),  # a drip: each byte is worth 4 ms
        (1, 29.9, 30),
        (119, 1, 60),  # half the rate: twice the patience
        (239, 1, 7_000),
        (240, 1, 10_000),
        (240 * 29, 29, 10_000),  # in bursts
        (240 * 29, 31, 30),
    ],
)
def test_how_long_a_slow_peer_lives(count: int, every: float, survives: float) -> None:
    assert waited_out(MinimumRate(30, 240), count, every) == pytest.approx(survives, rel=0.1)


@given(
    st.floats(0.1, 100),
    st.integers(1, 10_000),
    st.lists(st.tuples(st.integers(0, 100_000), st.floats(0, 10))),
)
def test_it_never_lives_longer_than_its_bytes_are_worth(
    patience: float, rate: int, moves: list[tuple[int, float]]
) -> None:
    pace = MinimumRate(patience, rate)
    count = waited = 0.0
    for moved, seconds in moves:
        pace.moved(moved, seconds)
        count, waited = count + moved, waited + seconds
        if pace.left <= 0:
            break
        assert pace.left <= patience
        assert waited <= patience + count / rate + 1e-6
