"""A request's target in its forms, and its Host (RFC 9112 section 3.2)."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

from trio_lb.errors import ClientError

# A comma may be in a registered name, but two Host fields joined to one look like that.
_HOST = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9._~!$&'()*+;=-]++|%[0-9A-Fa-f]{2})++)(?::([0-9]{0,5}))?"
)
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_LARGEST_PORT = 65535


def origin_form(method: bytes, target: bytes, hosts: list[bytes]) -> tuple[bytes, bytes | None]:
    """Bring a target into origin form; the authority of an absolute one replaces Host.

    Args:
        method: CONNECT and OPTIONS have forms of their own.
        target: as it was sent; visible ASCII.
        hosts: the values of the Host fields.

    Returns:
        The target, or `*` for OPTIONS; the host, or None where nobody named one.

    Raises:
        ClientError: target or host are malformed (400), or the method is CONNECT (501).
    """
    if method == b"CONNECT":
        raise ClientError("CONNECT is not supported", 501)
    if b"#" in target:
        raise ClientError("the request target contains a fragment")
    if len(hosts) > 1:
        raise ClientError("more than one Host header")
    host = hosts[0] if hosts else None
    absolute = None if target.startswith(b"/") else _ABSOLUTE.fullmatch(target)
    if host is not None and not is_host(host) and (host or not absolute):
        raise ClientError("invalid Host header")
    if absolute:
        host, target = absolute.groups()
        if not is_host(host):
            raise ClientError("the request target has no host")
        if not target.startswith(b"/"):
            # RFC 9112 section 3.2.4: OPTIONS of an authority alone is OPTIONS *.
            target = b"*" if method == b"OPTIONS" and not target else b"/" + target
    elif not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        raise ClientError("the request target is neither a path nor a URL")
    return target, host


def is_host(value: bytes) -> bool:
    """Is this a host with an optional port, and nothing beside them (RFC 3986 section 3.2)?"""
    match = _HOST.fullmatch(value)
    if match is None or int(match[2] or 0) > _LARGEST_PORT:
        return False
    if match[1] is not None:
        try:
            IPv6Address(match[1].decode("ascii"))
        except AddressValueError:
            return False
    return True
