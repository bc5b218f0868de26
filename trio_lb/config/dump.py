"""A `Profile` back to YAML, with every default spelled out."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import yaml

from trio_lb.config.kinds import Kind, keys_of
from trio_lb.config.model import SHORT_FORMS, Profile, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import Struct

    from trio_lb.config.units import Leaf


NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class _Dumper(yaml.SafeDumper):
    """Writes switches as `on` and `off`, and lists indented below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_representer(
    bool,
    lambda dumper, on: dumper.represent_scalar("tag:yaml.org,2002:bool", "on" if on else "off"),
)


def dump_profile(profile: Profile, *, as_written: bool = False) -> str:
    """Write a profile as YAML, with every default spelled out.

    Args:
        profile: what to write.
        as_written: values that came from the environment are `${NAME}` again, as in the text that
            was read, to be shown to users. Otherwise it reads back as an equal one, whatever the
            environment.
    """
    known = profile.from_environment if as_written else {}
    text = yaml.dump(
        written(profile, known), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )
    assert isinstance(text, str)
    return text


def written(
    struct: Struct, known: Mapping[str, str] = NOTHING, paths: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A Struct of the model as a profile writes it: texts with units, in plain containers.

    Args:
        struct: what to write.
        known: texts to write in place of values, by their paths.
        paths: its own path, and others by which it may be known.
    """
    short = SHORT_FORMS.get(type(struct))
    values = {}
    for key in keys_of(type(struct)).values():
        names = tuple(f"{path}.{key.name}" for path in paths) if paths else (key.name,)
        if key.field == short:
            names += paths
        values[key.name] = written_value(key.kind, getattr(struct, key.field), known, names)
    if isinstance(struct, Server):
        address = struct.address
        if struct.name == (str(address) if known else address.url):
            del values["name"]
    return values


def written_value(
    kind: Kind, value: Any, known: Mapping[str, str] = NOTHING, paths: tuple[str, ...] = ()
) -> Any:
    """A value of this kind as a profile writes it; see `written`."""
    if value is None or kind.leaf is not None:
        for path in paths:
            if path in known:
                return known[path]
    if value is None:
        return False  # off
    if kind.struct is not None:
        return written(value, known, paths)
    if kind.item is not None:
        alone = paths if len(value) == 1 else ()  # one item may stand without its list
        items = [
            written_value(kind.item, item, known, (*(f"{path}[{index}]" for path in paths), *alone))
            for index, item in enumerate(value)
        ]
        return items[0] if len(items) == 1 and kind.item.leaf is not None else items
    if kind.entry is not None:
        key_leaf, value_leaf = kind.entry
        table = {}
        for key, each in value.items():
            name = key_leaf.format(key)
            names = tuple(f"{path}.{name}" for path in paths)
            table[name] = written_value(Kind(leaf=value_leaf), each, known, names)
        return table
    assert kind.leaf is not None
    return _plain(kind.leaf, value)


def _plain(leaf: Leaf, value: Any) -> str | int | float | bool:
    plain = leaf.format(value)
    return plain.replace("$", "$$") if isinstance(plain, str) else plain
