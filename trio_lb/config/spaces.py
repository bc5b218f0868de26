"""The space that is missing after a colon: YAML then reads `url:http://a` as one text."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from trio_lb.config.kinds import keys_of
from trio_lb.config.model import Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from msgspec import Struct

_SQUEEZED: Final = re.compile(r"(?:^|(?<=[\s{\[,-]))([a-z_]+):(?=\S)", re.MULTILINE)


def missing_space(text: str) -> str | None:
    """What to say if this has a key without a space behind its colon; None if it has none."""
    for match in _SQUEEZED.finditer(text):
        if match[1] in _all_keys():
            return f'expected a space after "{match[1]}:"'
    return None


@cache
def _all_keys() -> frozenset[str]:
    return frozenset(_keys_below(Profile))


def _keys_below(struct: type[Struct]) -> Iterator[str]:
    for key in keys_of(struct).values():
        yield key.name
        for kind in (key.kind, key.kind.item):
            if kind is not None and kind.struct is not None:
                yield from _keys_below(kind.struct)
