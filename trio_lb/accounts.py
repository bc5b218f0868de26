"""The users and groups of this machine, by name or number."""

from __future__ import annotations

import grp
import pwd
import re
from typing import Final

_NUMBER: Final = re.compile(r"[0-9]{1,10}")
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
        return pwd.getpwnam(text).pw_uid
    except (KeyError, OSError, ValueError):
        raise ValueError("expected an existing user, by name or uid") from None


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
        return grp.getgrnam(text).gr_gid
    except (KeyError, OSError, ValueError):
        raise ValueError("expected an existing group, by name or gid") from None
