"""Fields that make a connection personal: it is authenticated as one user from then on.

NTLM and Negotiate (RFC 4559) authenticate a connection and not a request, against RFC 9110 section
11.1: every later request on such a connection counts as that user's. In requests `Authorization`
shows it; in responses `WWW-Authenticate`, and `Persistent-Auth` of some servers.
`Proxy-Authorization` and `Proxy-Authenticate` end at this hop, and so make no connection personal.

The compiled parser knows the same from `ext/trio_lb/fast/http1/fields.pxi`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .heads import Field, FieldLine

#: A scheme of that kind at the beginning of an element. What looks like one within a quoted string
#: costs a connection that is not shared.
_SCHEME = re.compile(
    rb"(?:\A|,)[ \t]*(?:ntlm|negotiate|kerberos|nego2|credssp)(?=[ \t,]|\Z)", re.IGNORECASE
)
_FIELDS = frozenset({b"authorization", b"persistent-auth", b"www-authenticate"})


def makes_personal(lines: Iterable[FieldLine | Field]) -> bool:
    """Does a message with these fields make its connection its client's own?"""
    for line in lines:
        lower = line[0].lower()
        if lower in _FIELDS:
            value = line[-1]
            if value.lower() != b"false" if lower == b"persistent-auth" else _SCHEME.search(value):
                return True
    return False
