"""Via: the proxies that a message has passed (RFC 9110 section 7.6.3)."""

from __future__ import annotations

#: Our name in it; that of every trio-lb.
PSEUDONYM = b"trio-lb"

#: A request that has passed so many of us already goes round in a loop. A balancer before others
#: is ordinary, three in a row are a lot.
MOST_PASSES = 10


def with_ours(earlier: bytes | None, version: bytes) -> bytes:
    """The value that goes on.

    Args:
        earlier: as it came, or None.
        version: HTTP version of the message that came.
    """
    own = version + b" " + PSEUDONYM
    return earlier + b", " + own if earlier else own


def goes_round(values: list[bytes]) -> bool:
    """Has a request with these values of Via passed too many of us?"""
    members = [member.split() for value in values for member in value.lower().split(b",")]
    return sum(member[1:2] == [PSEUDONYM] for member in members) >= MOST_PASSES
