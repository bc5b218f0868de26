"""The description of a statistic, written once next to its type, as a field of a snapshot.

    served: Annotated[int, counter("responses completed", heading="Connections Served", read=...)]

How it is read, its column in reports and its documentation follow from that; its name is its key
in saved reports. `trio_lb.observe.statistics` has the snapshots.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_type_hints

from trio_lb.observe import units

if TYPE_CHECKING:
    from collections.abc import Callable

Kind: TypeAlias = Literal["counter", "gauge", "label"]


@dataclass(frozen=True, slots=True)
class Statistic:
    """One statistic.

    Attributes:
        kind: "counter" only grows, from the balancer's start (or a worker's) on; "gauge" is of the
            moment; "label" is no figure.
        meaning: for the documentation.
        unit: "s", "bytes" or "1/s"; empty: a number of what the meaning says.
        heading: of its column in reports; empty: it has none.
        show: how it is written there.
        read: gives it, called with what the table has (see who makes the snapshot); None: whoever
            makes the snapshot knows it otherwise.
    """

    kind: Kind
    meaning: str
    unit: str = ""
    heading: str = ""
    show: Callable[[Any], str] = units.count
    read: Callable[..., Any] | None = None


def counter(
    meaning: str, unit: str = "", *, heading: str = "", read: Callable[..., Any] | None = None
) -> Statistic:
    """A figure that only grows."""
    return Statistic("counter", meaning, unit, heading, _WAYS.get(unit, units.count), read)


def gauge(
    meaning: str,
    unit: str = "",
    *,
    heading: str = "",
    show: Callable[[Any], str] | None = None,
    read: Callable[..., Any] | None = None,
) -> Statistic:
    """A figure of the moment."""
    way = show or _WAYS.get(unit, units.count)
    return Statistic("gauge", meaning, unit, heading, way, read)


def label(
    meaning: str,
    *,
    heading: str = "",
    show: Callable[[Any], str] = str,
    read: Callable[..., Any] | None = None,
) -> Statistic:
    """No figure: which one it is, or how it is."""
    return Statistic("label", meaning, "", heading, show, read)


_WAYS: dict[str, Callable[[Any], str]] = {"s": units.duration, "1/s": units.rate}


@cache
def described(snapshot: type) -> dict[str, Statistic]:
    """The statistics of a snapshot by name: its properties, and then its fields."""
    properties = {
        name: member.fget for name, member in vars(snapshot).items() if isinstance(member, property)
    }
    hints = {
        name: get_type_hints(getter, include_extras=True)["return"]
        for name, getter in properties.items()
    } | get_type_hints(snapshot, include_extras=True)
    return {
        name: found
        for name, hint in hints.items()
        for found in getattr(hint, "__metadata__", ())
        if isinstance(found, Statistic)
    }


def values_of(snapshot: type, *sources: object) -> dict[str, Any]:
    """The values of those statistics of a snapshot that can be read from these sources."""
    return {
        name: one.read(*sources)
        for name, one in described(snapshot).items()
        if one.read is not None
    }
