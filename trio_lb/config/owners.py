"""Whose a unix socket is: the owner, group and mode of a path.

Names are looked up while a profile is read, so that a wrong one is told with its place.
"""

from __future__ import annotations

import grp
import pwd
import re
from typing import Final

from trio_lb.config.units import Leaf, is_on

_NAME: Final = r"^[^\s:/]{1,100}$"
_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_MODE: Final = re.compile(r"0[0-7]{3}")
_LARGEST: Final = 2**32 - 2
"""The one above it means: leave it as it is (chown(2))."""


def user_id(text: str) -> int:
    """The number of a user; blocks for as long as the system's database takes.

    Raises:
        ValueError: this machine has no such user.
    """
    if _NUMBER.fullmatch(text) and int(text) <= _LARGEST:
        return int(text)
    try:
        return pwd.getpwnam(_checked(text)).pw_uid
    except (KeyError, OSError):
        raise ValueError("expected a user of this machine, or its number") from None


def group_of_user(uid: int) -> int | None:
    """The group that a user has by itself; None if only the number is known of it."""
    try:
        return pwd.getpwuid(uid).pw_gid
    except (KeyError, OSError):
        return None


def group_id(text: str) -> int:
    """The number of a group; blocks for as long as the system's database takes.

    Raises:
        ValueError: this machine has no such group.
    """
    if _NUMBER.fullmatch(text) and int(text) <= _LARGEST:
        return int(text)
    try:
        return grp.getgrnam(_checked(text)).gr_gid
    except (KeyError, OSError):
        raise ValueError("expected a group of this machine, or its number") from None


def _checked(text: str) -> str:
    if is_on(text) or not text.isprintable() or not re.fullmatch(_NAME, text):
        raise ValueError("expected a name, or off")
    return text


def _parse_owner(text: str) -> str:
    user_id(text)
    return text


def _parse_group(text: str) -> str:
    group_id(text)
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
