"""Durations, sizes and other small values that a profile writes as text with a unit.

Each is a `Leaf`: how to read it, how to write it, and its JSON Schema. A `parse` function raises
`ValueError` with what was expected; the reader adds what it got.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DURATION: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,30})?|\.[0-9]{1,30}) ?(us|ms|s|m|h|d)?")
_SECONDS: Final = {
    "d": Decimal(86400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
    "us": Decimal("0.000001"),
}
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?(B|[KMGT]i?B)?", re.IGNORECASE)
_BYTES: Final = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_ON: Final = frozenset({"on", "true", "yes"})
_OFF: Final = frozenset({"off", "false", "no"})


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """One kind of value that a profile writes as a scalar; goes into `Annotated`.

    Attributes:
        parse: text (environment expanded) to value; `ValueError` says what was expected.
        format: value to what `dump_profile` writes; `parse(str(format(v))) == v`.
        schema: JSON Schema of what may be written.
    """

    parse: Callable[[str], Any]
    format: Callable[[Any], str | int | float | bool]
    schema: Mapping[str, Any]


def parse_duration(text: str) -> float:
    """Read a duration such as `250ms`, `10s` or `2m` into seconds; a bare number is seconds.

    Raises:
        ValueError: not a duration; negative ones are not.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("expected a duration such as 250ms, 10s or 2m")
    return float(Decimal(match[1]) * _SECONDS[match[2] or "s"])


def parse_positive_duration(text: str) -> float:
    """Read a duration that must be longer than zero. See `parse_duration`."""
    seconds = parse_duration(text)
    if seconds == 0:
        raise ValueError("expected a duration longer than zero, such as 250ms, 10s or 2m")
    return seconds


def format_duration(seconds: float) -> str:
    """Write seconds with the largest unit that needs no fraction; exact."""
    exact = Decimal(repr(seconds))
    for unit, factor in _SECONDS.items():
        number = exact / factor
        if number >= 1 and number == number.to_integral_value():
            return f"{int(number)}{unit}"
    return f"{exact:f}s"


def parse_size(text: str) -> int:
    """Read a size such as `16KiB` (1024) or `1MB` (1000000) into bytes; a bare number is bytes.

    Raises:
        ValueError: not a size, or not a whole number of bytes.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("expected a size such as 512, 16KiB or 1MB")
    number = Decimal(match[1]) * _BYTES[(match[2] or "b").lower()]
    if number != number.to_integral_value():
        raise ValueError("expected a whole number of bytes, such as 512, 16KiB or 1MB")
    return int(number)


def parse_positive_size(text: str) -> int:
    """Read a size of at least one byte. See `parse_size`."""
    size = parse_size(text)
    if size == 0:
        raise ValueError("expected a size of at least one byte, as in 16KiB")
    return size


def format_size(size: int) -> str | int:
    """Write bytes with the largest binary unit that needs no fraction; exact."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit.lower()] == 0:
            return f"{size // _BYTES[unit.lower()]}{unit}"
    return size


def parse_fraction(text: str) -> float:
    """Read a share of one, `0.1` or `10%`.

    Raises:
        ValueError: not a number from 0 to 1.
    """
    number, percent = (text[:-1], 100) if text.endswith("%") else (text, 1)
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,30})?(e-[0-9]{1,2})?", number):
        share = float(Decimal(number) / percent)
        if share <= 1:
            return share
    raise ValueError("expected a fraction from 0 to 1, such as 0.1 or 10%")


def parse_statuses(text: str) -> range:
    """Read one status (`204`) or a range of them (`200-399`, both ends included).

    Raises:
        ValueError: not a status of HTTP (100 to 599), or a range that ends before it begins.
    """
    match = re.fullmatch(r"([1-5][0-9]{2})(?: ?- ?([1-5][0-9]{2}))?", text)
    if match is None:
        raise ValueError("expected an HTTP status or a range of them, such as 204 or 200-399")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(
            f'expected a range with the lower status first (did you mean "{last}-{first}"?)'
        )
    return range(first, last + 1)


def format_statuses(statuses: range) -> str | int:
    """Write a range of statuses as `parse_statuses` reads it."""
    first, last = statuses[0], statuses[-1]
    return first if first == last else f"{first}-{last}"


def parse_switch(text: str) -> bool:
    """Read `on` or `off`, with YAML's other words for them (`true`, `yes`, `false`, `no`).

    Raises:
        ValueError: neither.
    """
    word = text.lower()
    if word in _ON | _OFF:
        return word in _ON
    raise ValueError("expected on or off")


def is_on(text: str) -> bool:
    """Whether this is one of the words for `on`."""
    return text.lower() in _ON


def is_off(text: str) -> bool:
    """Whether this is one of the words for `off`."""
    return text.lower() in _OFF


def _with_unit(parse: Callable[[str], Any], write: Callable[[Any], str | int], unit: str) -> Leaf:
    pattern = rf"^([0-9]*\.)?[0-9]+ ?({unit})?$"
    return Leaf(parse, write, {"type": ["number", "string"], "minimum": 0, "pattern": pattern})


_TIME_UNITS = "us|ms|s|m|h|d"
_SIZE_UNITS = "[Bb]|[KkMmGgTt][Ii]?[Bb]"

DURATION: Final = _with_unit(parse_positive_duration, format_duration, _TIME_UNITS)
DURATION_OR_ZERO: Final = _with_unit(parse_duration, format_duration, _TIME_UNITS)
SIZE: Final = _with_unit(parse_positive_size, format_size, _SIZE_UNITS)
SIZE_OR_ZERO: Final = _with_unit(parse_size, format_size, _SIZE_UNITS)
FRACTION: Final = Leaf(
    parse_fraction,
    float,
    {"type": ["number", "string"], "minimum": 0, "maximum": 1, "pattern": r"^[0-9.]+%?$"},
)
STATUSES: Final = Leaf(
    parse_statuses,
    format_statuses,
    {
        "type": ["integer", "string"],
        "minimum": 100,
        "maximum": 599,
        "pattern": "^[1-5][0-9]{2}( ?- ?[1-5][0-9]{2})?$",
    },
)
SWITCH: Final = Leaf(
    parse_switch, bool, {"enum": [True, False, "on", "off", "true", "false", "yes", "no"]}
)
