"""Python values to the tree that YAML text with them would give."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping as AnyMapping
from datetime import timedelta
from decimal import Decimal
from typing import Final

from trio_lb.config.loading import MAX_DEPTH, Mapping, Node, Scalar, Sequence
from trio_lb.config.problems import Problem, ProfileError, joined

_ADDRESSES: Final = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
)


def tree_of(value: AnyMapping[str, object], source: str) -> Node:
    """Build the tree of a mapping.

    Numbers, truth values, texts, None, lists and mappings mean what they mean in YAML. A timedelta
    is a duration, a path is its text, and addresses and networks of `ipaddress` are theirs.

    Raises:
        ProfileError: there is something else in it, or it is nested deeper than any profile is.
    """
    return _node(value, source, "", 0)


def _node(value: object, source: str, path: str, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise ProfileError([Problem(source, None, path, "nested too deeply")])
    if isinstance(value, AnyMapping):
        entries = []
        for key, each in value.items():
            name = str(key)
            if not isinstance(key, str | int) or isinstance(key, bool):
                message = f"expected a key, a plain word, got {type(key).__name__}"
                raise ProfileError([Problem(source, None, path, message)])
            entries.append((Scalar(None, name), _node(each, source, joined(path, name), depth + 1)))
        return Mapping(None, entries)
    if isinstance(value, list | tuple):
        items = [
            _node(each, source, f"{path}[{index}]", depth + 1) for index, each in enumerate(value)
        ]
        return Sequence(None, items)
    text = _text(value)
    if text is None:
        message = f"expected a text, a number, a list or a mapping, got {type(value).__name__}"
        raise ProfileError([Problem(source, None, path, message)])
    return Scalar(None, text, plain=value is None)


def _text(value: object) -> str | None:
    """A value as YAML would have it; None if it would have none."""
    match value:
        case None:
            return "null"
        case str():
            return str(value)
        case bool():
            return "on" if value else "off"
        case int():
            return str(value)
        case float():
            return _without_exponent(Decimal(repr(value)))
        case timedelta():
            microseconds = value // timedelta(microseconds=1)
            return f"{_without_exponent(Decimal(microseconds) / 10**6)}s"
        case os.PathLike():
            name = os.fspath(value)
            return name if isinstance(name, str) else None
        case _ if isinstance(value, _ADDRESSES):
            return str(value)
    return None


def _without_exponent(number: Decimal) -> str:
    return f"{number:f}" if number.is_finite() else str(number)
