"""Upgrade (RFC 9110 section 7.8): which protocols a client offers, and a server may switch to.

An offer is about one connection, so it is written anew for the server, and only for protocols that
a tunnel can carry. Other versions of HTTP are not: requests inside the tunnel would reach the
server unchecked (known as h2c smuggling).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .heads import ResponseHead

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PROTOCOL = re.compile(rb"(%b)(?:/%b)?" % (_TOKEN, _TOKEN))

_HTTP = frozenset({b"http", b"h2", b"h2c"})


def offered(version: bytes, options: list[bytes], values: list[bytes]) -> tuple[bytes, ...]:
    """The protocols that may be offered to a server; without any, the request is plain HTTP.

    Args:
        version: of the request; an offer in HTTP/1.0 has to be ignored.
        options: of its Connection fields, in lower case; without `upgrade` there is no offer.
        values: of its Upgrade fields.
    """
    if not values or version != b"1.1" or b"upgrade" not in options:
        return ()
    return tuple(protocol for protocol in _protocols(values) if _may_be_tunnelled(protocol))


def takes_up(head: ResponseHead, offers: tuple[bytes, ...]) -> bool:
    """Whether a 101 switches to what was offered; it may name several, one on top of another."""
    protocols = _protocols(value for _, lower, value in head.fields if lower == b"upgrade")
    known = {offer.lower() for offer in offers}
    return bool(protocols) and all(protocol.lower() in known for protocol in protocols)


def _protocols(values: Iterable[bytes]) -> list[bytes]:
    return [item for value in values for part in value.split(b",") if (item := part.strip(b" \t"))]


def _may_be_tunnelled(protocol: bytes) -> bool:
    known = _PROTOCOL.fullmatch(protocol)
    return known is not None and known[1].lower() not in _HTTP
