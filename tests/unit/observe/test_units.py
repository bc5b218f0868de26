"""Figures as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_lb.observe import units


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0.0, "0 µs"),
        (1.23e-6, "1.23 µs"),
        (0.00085, "850 µs"),
        (0.0009994, "999 µs"),
        (0.0009996, "1.00 ms"),
        (0.009996, "10.0 ms"),
        (0.0123, "12.3 ms"),
        (0.09996, "100 ms"),
        (0.9996, "1.00 s"),
        (1.25, "1.25 s"),
        (12345.6, "12,346 s"),
    ],
)
def test_duration(seconds: float | None, shown: str) -> None:
    assert units.duration(seconds) == shown


@given(st.floats(1e-5, 1e5))
def test_a_duration_is_right_to_three_digits(seconds: float) -> None:
    number, unit = units.duration(seconds).split()
    shown = float(number.replace(",", "")) * {"µs": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
    assert shown == pytest.approx(seconds, rel=0.0051)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "00:00:00"), (65.9, "00:01:05"), (86_399, "23:59:59"), (273_906, "3 d 04:05:06")],
)
def test_elapsed(seconds: float, shown: str) -> None:
    assert units.elapsed(seconds) == shown


def test_counts_rates_and_limits() -> None:
    assert units.count(1234567) == "1,234,567"
    assert [units.limit(0), units.limit(1500)] == ["-", "1,500"]
    rates = [units.rate(rate) for rate in (None, 0.0, 0.25, 17.34, 12_345.4)]
    assert rates == ["-", "0", "0.25", "17.3", "12,345"]


def test_timestamp() -> None:
    time = datetime(2026, 7, 1, 12, 0, 0, 1234, tzinfo=UTC)
    assert units.timestamp(time) == "2026-07-01T12:00:00Z"
    assert units.timestamp(time, "milliseconds") == "2026-07-01T12:00:00.001Z"
