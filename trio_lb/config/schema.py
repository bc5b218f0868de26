"""The JSON Schema of profiles, for editors; generated from the model."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from trio_lb.config.dump import written_value
from trio_lb.config.kinds import Key, Kind, keys_of
from trio_lb.config.model import SHORT_FORMS, Profile

if TYPE_CHECKING:
    from msgspec import Struct

_ENVIRONMENT: Final = {
    "description": "Taken from the environment: ${NAME} or ${NAME:-default}.",
    "type": "string",
    "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
}
_OFF: Final = {"enum": ["off", "no", "false", False, None]}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a profile."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "trio-lb profile",
        **_struct(Profile),
        "$defs": {"environment": _ENVIRONMENT},
    }


def _struct(struct: type[Struct]) -> dict[str, Any]:
    keys = keys_of(struct).values()
    return {
        "type": "object",
        "description": inspect.getdoc(struct),
        "properties": {key.name: _property(key) for key in keys},
        "required": [key.name for key in keys if key.required],
        "additionalProperties": False,
    }


def _property(key: Key) -> dict[str, Any]:
    schema = {**_kind(key.kind), "description": key.kind.description}
    # What is empty is decided by other keys.
    if not key.required and key.kind.struct is None and key.default not in ("", ()):
        schema["default"] = written_value(key.kind, key.default)
    return schema


def _kind(kind: Kind) -> dict[str, Any]:
    if kind.struct is not None:
        forms = [_struct(kind.struct)]
        if kind.struct in SHORT_FORMS:
            field = SHORT_FORMS[kind.struct]
            short = next(key for key in keys_of(kind.struct).values() if key.field == field)
            forms.insert(0, _kind(short.kind))
        return _any_of(forms)
    if kind.item is not None:
        item = _kind(kind.item)
        forms = [item, {"type": "array", "items": item, "minItems": 1}]
        return _any_of([*forms, _OFF] if kind.optional else forms)
    if kind.entry is not None:
        key, value = kind.entry
        return {
            "type": "object",
            "propertyNames": {"pattern": key.schema["pattern"]},
            "additionalProperties": dict(value.schema),
        }
    assert kind.leaf is not None
    forms = [dict(kind.leaf.schema), {"$ref": "#/$defs/environment"}]
    return _any_of([*forms, _OFF] if kind.optional else forms)


def _any_of(forms: list[dict[str, Any]]) -> dict[str, Any]:
    return forms[0] if len(forms) == 1 else {"anyOf": forms}
