"""A `Profile` back to YAML, with every default spelled out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from trio_lb.profile.kinds import Kind, keys_of
from trio_lb.profile.model import Profile, Server

if TYPE_CHECKING:
    from msgspec import Struct

    from trio_lb.profile.units import Leaf


class _Dumper(yaml.SafeDumper):
    """Writes switches as `on` and `off`, and lists indented below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_representer(
    bool,
    lambda dumper, on: dumper.represent_scalar("tag:yaml.org,2002:bool", "on" if on else "off"),
)


def dump_profile(profile: Profile) -> str:
    """Write a profile as YAML that reads back as an equal one, whatever the environment."""
    text = yaml.dump(
        written(profile), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )
    assert isinstance(text, str)
    return text


def written(struct: Struct) -> dict[str, Any]:
    """A Struct of the model as a profile writes it: texts with units, in plain containers."""
    values = {
        key.name: written_value(key.kind, getattr(struct, key.field))
        for key in keys_of(type(struct)).values()
    }
    if isinstance(struct, Server) and struct.name == str(struct.address):
        del values["name"]
    return values


def written_value(kind: Kind, value: Any) -> Any:
    """A value of this kind as a profile writes it."""
    if value is None:
        return False  # off
    if kind.struct is not None:
        return written(value)
    if kind.item is not None:
        items = [written_value(kind.item, item) for item in value]
        return items[0] if len(items) == 1 and kind.item.leaf is not None else items
    if kind.entry is not None:
        key_leaf, value_leaf = kind.entry
        return {key_leaf.format(key): _plain(value_leaf, each) for key, each in value.items()}
    assert kind.leaf is not None
    return _plain(kind.leaf, value)


def _plain(leaf: Leaf, value: Any) -> str | int | float | bool:
    plain = leaf.format(value)
    return plain.replace("$", "$$") if isinstance(plain, str) else plain
