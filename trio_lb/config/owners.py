"""The owner, group and mode of a unix socket.

Names are looked up while a profile is read, so that an unknown one is reported with its position.
"""

from __future__ import annotations

import re
from typing import Final

from trio_lb.accounts import group_id, user_id
from trio_lb.config.units import Leaf, is_on

_NAME: Final = r"^[^\s:/]{1,100}$"
_MODE: Final = re.compile(r"0[0-7]{3}")


def _checked(text: str) -> str:
    if is_on(text) or not text.isprintable() or not re.fullmatch(_NAME, text):
        raise ValueError("expected a name, or off")
    return text


def _parse_owner(text: str) -> str:
    user_id(_checked(text))
    return text


def _parse_group(text: str) -> str:
    group_id(_checked(text))
    return text


def _parse_mode(text: str) -> int:
    # With the 0 in front: 660 as a number of YAML, JSON or Python is something else.
    if _MODE.fullmatch(text):
        return int(text, 8)
    raise ValueError('expected four octal digits in quotes, as in "0660"')


OWNER: Final = Leaf(_parse_owner, str, {"type": ["string", "integer"], "pattern": _NAME})
GROUP: Final = Leaf(_parse_group, str, {"type": ["string", "integer"], "pattern": _NAME})
MODE: Final = Leaf(
    _parse_mode, lambda mode: f"{mode:04o}", {"type": "string", "pattern": "^0[0-7]{3}$"}
)
