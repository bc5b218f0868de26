"""The types of the model, analysed once for reading, writing and the schema.

A type of `model` is a Struct, a tuple of one type, a dict of two leaves, or a leaf; any of them
may be `| None`.
"""

from __future__ import annotations

import difflib
import types
import typing
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from trio_lb.config.units import Leaf


@dataclass(frozen=True, slots=True)
class Kind:
    """A type taken apart; exactly one of `struct`, `item`, `entry` and `leaf` is set."""

    struct: type[Struct] | None = None
    item: Kind | None = None
    entry: tuple[Leaf, Leaf] | None = None
    leaf: Leaf | None = None
    optional: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a mapping: a field of a Struct.

    Attributes:
        name: as written in a profile; `field` is the attribute's name.
    """

    name: str
    field: str
    kind: Kind
    default: Any
    required: bool


@cache
def keys_of(struct: type[Struct]) -> dict[str, Key]:
    """The keys of a mapping that is read into this Struct, by their written names."""
    keys = {}
    for info in msgspec.structs.fields(struct):
        if _is_no_key(info.type):
            continue
        required = info.default is NODEFAULT and info.default_factory is NODEFAULT
        if required:
            default = None
        elif info.default is NODEFAULT:
            default = info.default_factory()
        else:
            default = info.default
        keys[info.encode_name] = Key(
            info.encode_name, info.name, _kind_of(info.type), default, required
        )
    return keys


NO_KEY: typing.Final = Meta(extra={"key": False})
"""Marks a field of a Struct that a profile does not write."""


def _is_no_key(annotation: Any) -> bool:
    return NO_KEY in getattr(annotation, "__metadata__", ())


def _kind_of(annotation: Any) -> Kind:
    base, *metadata = (
        typing.get_args(annotation) if typing.get_origin(annotation) is Annotated else (annotation,)
    )
    metas = [each for each in metadata if isinstance(each, Meta)]
    description = next((each.description for each in metas if each.description), "")
    leaf = next((each for each in metadata if isinstance(each, Leaf)), None)
    if leaf is not None:
        return Kind(leaf=leaf, description=description)
    if typing.get_origin(base) in {typing.Union, types.UnionType}:
        (inner,) = (arg for arg in typing.get_args(base) if arg is not type(None))
        kind = _kind_of(inner)
        return replace(kind, optional=True, description=description)
    if typing.get_origin(base) is tuple:
        return Kind(item=_kind_of(typing.get_args(base)[0]), description=description)
    if typing.get_origin(base) is dict:
        key, value = (_kind_of(each).leaf for each in typing.get_args(base))
        assert key is not None
        assert value is not None
        return Kind(entry=(key, value), description=description)
    if isinstance(base, type) and issubclass(base, Struct):
        return Kind(struct=base, description=description)
    return Kind(leaf=_plain_leaf(base, metas), description=description)


def _plain_leaf(base: Any, metas: list[Meta]) -> Leaf:
    if typing.get_origin(base) is Literal:
        return choices_leaf(typing.get_args(base))
    if base is int:
        bounds = Meta(ge=metas[0].ge, le=metas[0].le)
        annotated = Annotated[int, bounds]
        return Leaf(partial(_whole_number, annotated, bounds), int, msgspec.json.schema(annotated))
    raise TypeError(f"the model has an unsupported type: {base}")


def choices_leaf(choices: tuple[str, ...]) -> Leaf:
    """The leaf of a value that is one of these words, in upper or lower case."""
    return Leaf(partial(_choose, choices), str, {"enum": list(choices)})


def _choose(choices: tuple[str, ...], text: str) -> str:
    if text.lower() in choices:
        return text.lower()
    near = difflib.get_close_matches(text.lower(), choices, 1)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    raise ValueError(f"{hint}expected one of {', '.join(choices)}")


def _whole_number(annotated: Any, bounds: Meta, text: str) -> int:
    try:
        return typing.cast("int", msgspec.convert(text, annotated, strict=False))
    except msgspec.ValidationError:
        limits = (
            f"of at least {bounds.ge}" if bounds.le is None else f"from {bounds.ge} to {bounds.le}"
        )
        raise ValueError(f"expected a whole number {limits}") from None
