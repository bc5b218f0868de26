"""Figures for people: three digits and a unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

NOTHING = "-"


def count(number: int) -> str:
    """A whole number with its thousands apart: 1,234,567."""
    return f"{number:,}"


def several(number: int, what: str) -> str:
    """A number of things: 1 server, 1,234 servers."""
    return f"{count(number)} {what}{'' if number == 1 else 's'}"


def limit(number: int) -> str:
    """A limit; 0 means that there is none."""
    return count(number) if number else NOTHING


def rate(per_second: float | None) -> str:
    """Events per second to three digits, without the unit: 0.25, 17.3, 12,345."""
    return NOTHING if per_second is None else _three_digits(per_second)


def duration(seconds: float | None) -> str:
    """A measured time in µs, ms or s: 850 µs, 12.3 ms, 1.25 s."""
    if seconds is None:
        return NOTHING
    for per_second, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * per_second < 999.5:
            return f"{_three_digits(seconds * per_second)} {unit}"
    return f"{_three_digits(seconds)} s"


def elapsed(seconds: float) -> str:
    """A long time as a clock shows it: 00:01:05, 3 d 04:05:06."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour:02}:{minute:02}:{second:02}"
    return f"{count(days)} d {clock}" if days else clock


def timestamp(time: datetime, timespec: str = "seconds") -> str:
    """A UTC time in ISO 8601: 2026-07-01T12:00:00Z."""
    return time.isoformat(timespec=timespec).replace("+00:00", "Z")


def _three_digits(value: float) -> str:
    if value < 9.995:
        return f"{value:.2f}" if value else "0"
    return f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"
