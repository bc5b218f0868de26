"""Networks of proxies that are believed: `10.0.0.0/8`, one address, or `unix`."""

from __future__ import annotations

import ipaddress
from typing import Final, Literal, TypeAlias

from trio_lb.profile.units import Leaf

TrustedNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network | Literal["unix"]
"""`unix` stands for everybody who comes by a unix socket, whom its permissions have let in."""

_EXPECTED: Final = "expected a network such as 10.0.0.0/8, an IP address, or unix"


def parse_network(text: str) -> TrustedNetwork:
    """Read a network; an address alone is a network of one.

    Raises:
        ValueError: not a network, or an address within one in its place.
    """
    if text.lower() == "unix":
        return "unix"
    address, slash, length = text.partition("/")
    if "%" in text or (slash and not (length.isascii() and length.isdigit())):
        raise ValueError(_EXPECTED)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if network.network_address != ipaddress.ip_address(address):
        raise ValueError(f'expected a network (did you mean "{network}"?)')
    return network


def format_network(network: TrustedNetwork) -> str:
    """Write a network as `parse_network` reads it."""
    return str(network)


TRUSTED_NETWORK: Final = Leaf(
    parse_network,
    format_network,
    {
        "type": "string",
        "pattern": r"^([0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(/[0-9]{1,3})?$|^[Uu][Nn][Ii][Xx]$",
        "examples": ["10.0.0.0/8", "unix"],
    },
)
