"""Whether a path could climb above where it begins (`/public/../admin`), for any server.

A server below a path (`http://host/public`) gets the client's path appended to its own, and
resolves dot segments afterwards (RFC 3986 section 5.2.4). How it decodes and separates them is
unknown, so the worst interpretation counts: `%2e` is a dot; a backslash, `%5c` and `%2f` separate,
or do not; what follows a `;` belongs to its segment, or does not; empty segments are merged; an
escaped NUL, `?` or `#` ends the path, or does not.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

#: Decoded so often: once by a server, and again by what is behind it, and once more.
_ROUNDS = 3

_SEPARATORS = re.compile(rb"[/\\]")
#: What comes behind these in a segment, or in the whole path, may not count.
_ENDS = re.compile(rb"[;\0?#]")
_NAMELESS = (b"", b".", b"..")


def climbs(target: bytes) -> bool:
    """May a server resolve this target to something above its first slash?

    Args:
        target: in origin form, or `*`; its query does not matter.
    """
    path = target.partition(b"?")[0]
    if b"." not in path and b"%" not in path:
        return False
    depth = 0
    for segment in path.split(b"/"):
        depth += _least(segment)
        if depth < 0:
            return True
    return False


def _least(segment: bytes) -> int:
    """By how much a segment leads down, at the least; negative: it may lead up."""
    for _ in range(_ROUNDS):
        segment = unquote_to_bytes(segment)
    ups: int = sum(_ENDS.split(part, 1)[0] == b".." for part in _SEPARATORS.split(segment))
    if ups:
        return -ups  # what it may lead down before that counts for nothing
    names = _SEPARATORS.split(segment.partition(b";")[0])
    return int(any(name not in _NAMELESS for name in names))
