"""The Forwarded field (RFC 7239): the hops that a request has passed, in one syntax.

Parsed strictly and written anew, so that no two parsers see different hops.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import Final, TypeAlias

Element: TypeAlias = dict[bytes, bytes]
"""What one proxy says: parameters by their names in lower case, values without quotes."""

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PAIR: Final = re.compile(
    rb"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=
         (?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"((?:[\t !\x23-\x5b\x5d-\x7e]|\\[\t -~])*)")[ \t]*""",
    re.VERBOSE,
)
_BETWEEN: Final = re.compile(rb"[ \t]*")
_QUOTED: Final = re.compile(rb"[\t -~]*")
_ESCAPE: Final = re.compile(rb"\\(.)")

#: RFC 7239 section 6; the port of a node may be hidden as well (`_` and a word).
_NODE: Final = re.compile(
    r"(?:(?P<v4>[0-9.]{7,15})|\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|unknown|_[A-Za-z0-9._-]+)"
    r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?",
    re.IGNORECASE,
)


def parse(value: bytes) -> list[Element]:
    """Read the value of the field; several field lines are joined with commas before.

    Raises:
        ValueError: the syntax of section 4 is not kept, a parameter is there twice in an element,
            or `for` or `by` is no node.
    """
    elements: list[Element] = []
    element: Element = {}
    place = 0
    while True:
        if pair := _PAIR.match(value, place):
            _add(element, pair)
            place = pair.end()
        else:  # between two semicolons or commas there may be nothing
            place = _end_of(_BETWEEN, value, place)
        separator = value[place : place + 1]
        if separator != b";":
            if element:
                elements.append(element)
            element = {}
        if not separator:
            return elements
        if separator not in b";,":
            raise ValueError("not the syntax of Forwarded")
        place += 1


def _end_of(pattern: re.Pattern[bytes], value: bytes, place: int) -> int:
    match = pattern.match(value, place)
    return place if match is None else match.end()


def _add(element: Element, pair: re.Match[bytes]) -> None:
    name, token, quoted = pair.groups()
    name = name.lower()
    if name in element:
        raise ValueError("a parameter of Forwarded is there twice")
    element[name] = _ESCAPE.sub(rb"\1", quoted) if token is None else token
    if name in (b"for", b"by"):
        parse_node(element[name])


def write(elements: list[Element]) -> bytes:
    """The value of the field; what is no token is quoted.

    Raises:
        ValueError: a name is no token, or a value can't even be quoted.
    """
    return b", ".join(
        b";".join(_pair(name, value) for name, value in element.items()) for element in elements
    )


def _pair(name: bytes, value: bytes) -> bytes:
    if not _TOKEN.fullmatch(name) or not _QUOTED.fullmatch(value):
        raise ValueError("this can't be said in Forwarded")
    if _TOKEN.fullmatch(value):
        return name + b"=" + value
    return name + b'="' + re.sub(rb'(["\\])', rb"\\\1", value) + b'"'


def parse_node(value: bytes) -> str | None:
    """The address that a node stands for, in its canonical text.

    Returns:
        None for `unknown` and for names that hide an address (`_hidden`).

    Raises:
        ValueError: it is no node.
    """
    match = _NODE.fullmatch(value.decode("latin-1"))
    if match is not None:
        address = match["v4"] or match["v6"]
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(address)) if address else None
    raise ValueError("not a node of Forwarded")


def node(host: str | None, port: int = 0) -> bytes:
    """A node for an IP address, and a port unless it is 0; `unknown` for who has none."""
    if host is None:
        return b"unknown"
    name = f"[{host}]" if ":" in host else host
    return (f"{name}:{port}" if port else name).encode("ascii")
