"""Durations, sizes, shares and statuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_lb.config.units import (
    format_duration,
    format_size,
    format_statuses,
    parse_duration,
    parse_fraction,
    parse_size,
    parse_statuses,
    parse_switch,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10),
        ("0.5", 0.5),
        (".5s", 0.5),
        ("250ms", 0.25),
        ("100us", 0.0001),
        ("10s", 10),
        ("10 s", 10),
        ("2m", 120),
        ("1.5h", 5400),
        ("1d", 86400),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "+1", "1e3", "nan", "inf", "1 0", "10S", "1M", "٣s", "1s ", "9" * 16]
)
def test_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 250ms, 10s or 2m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0s"),
        (0.25, "250ms"),
        (90.0, "90s"),
        (120.0, "2m"),
        (86400.0, "1d"),
        (1e-7, "0.0000001s"),
    ],
)
def test_durations_are_written_with_the_largest_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(
    st.floats(0, 1e9, exclude_max=True, allow_subnormal=False).filter(lambda s: not 0 < s < 1e-12)
)
def test_durations_keep_their_exact_value(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("16KiB", 16384),
        ("16 kib", 16384),
        ("1kB", 1000),
        ("1MB", 1_000_000),
        ("1.5MiB", 1_572_864),
        ("2GiB", 2**31),
        ("1TiB", 2**40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "-1", "1K", "16k", "1e3", "0x10", "1 000", "1PB"])
def test_not_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as 512, 16KiB or 1MB"):
        parse_size(text)


@given(st.integers(0, 10**15 - 1))
def test_sizes_keep_their_exact_value(size: int) -> None:
    assert parse_size(str(format_size(size))) == size


@pytest.mark.parametrize(
    ("text", "share"), [("0", 0), ("1", 1), ("0.1", 0.1), ("10%", 0.1), ("100%", 1)]
)
def test_fractions(text: str, share: float) -> None:
    assert parse_fraction(text) == share


@pytest.mark.parametrize("text", ["", "%", "1.1", "101%", "-0.1", "nan", "10 %", "a"])
def test_not_fractions(text: str) -> None:
    with pytest.raises(ValueError, match="a fraction from 0 to 1"):
        parse_fraction(text)


@pytest.mark.parametrize(
    ("text", "statuses", "written"),
    [
        ("204", range(204, 205), 204),
        ("200-399", range(200, 400), "200-399"),
        ("200 - 299", range(200, 300), "200-299"),
        ("200-200", range(200, 201), 200),
    ],
)
def test_statuses(text: str, statuses: range, written: str | int) -> None:
    assert parse_statuses(text) == statuses
    assert format_statuses(statuses) == written


@pytest.mark.parametrize("text", ["", "99", "600", "2xx", "200-", "300-200", "200-299-300"])
def test_not_statuses(text: str) -> None:
    with pytest.raises(ValueError, match="expected a"):
        parse_statuses(text)


def test_switches() -> None:
    assert [parse_switch(word) for word in ("on", "True", "YES")] == [True] * 3
    assert [parse_switch(word) for word in ("off", "False", "NO")] == [False] * 3
    with pytest.raises(ValueError, match="expected on or off"):
        parse_switch("1")
