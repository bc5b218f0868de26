"""Trusted proxies and the Forwarded field, as written in a profile."""

from __future__ import annotations

import ipaddress
from typing import Final

from trio_lb.config.units import SWITCH, Leaf, is_off, is_on
from trio_lb.plan.clients import ForwardedField, TrustedNetwork

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


def _parse_forwarded(text: str) -> ForwardedField:
    if is_off(text):
        return ForwardedField.OFF
    if is_on(text):
        return ForwardedField.ON
    if text.lower() == ForwardedField.ONLY:
        return ForwardedField.ONLY
    raise ValueError("expected on, off, or only")


def _format_forwarded(field: ForwardedField) -> str | bool:
    return str(field) if field is ForwardedField.ONLY else field is ForwardedField.ON


FORWARDED_FIELD: Final = Leaf(
    _parse_forwarded, _format_forwarded, {"enum": [*SWITCH.schema["enum"], "only"]}
)
