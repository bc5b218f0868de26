"""Message heads: one type for both paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from .framing import Framing

Field: TypeAlias = tuple[bytes, bytes, bytes]
"""A field line: its name as it was sent, its name in lower case, its value."""

FieldLine: TypeAlias = tuple[bytes, bytes]
"""A field line to be written: name and value."""


class RequestHead(NamedTuple):
    """A request line and its fields, as parsed; only its framing has been judged yet.

    Attributes:
        method: the method token, in the client's case.
        target: the request target, in whichever of the four forms it came (RFC 9112 section 3.2).
        version: `b"1.1"` or `b"1.0"`.
        fields: the field lines in their order.
        framing: of the body behind it.
    """

    method: bytes
    target: bytes
    version: bytes
    fields: list[Field]
    framing: Framing


class ResponseHead(NamedTuple):
    """A status line and its fields, as parsed.

    Attributes:
        status: 100 to 599.
        reason: the reason phrase, possibly empty.
        version: the server's HTTP version.
        fields: the field lines in their order.
        framing: of the body behind it.
    """

    status: int
    reason: bytes
    version: bytes
    fields: list[Field]
    framing: Framing


def find(fields: list[Field], name: bytes) -> bytes | None:
    """The value of the first field called `name` (lower case), or None."""
    for _, lower, value in fields:
        if lower == name:
            return value
    return None
