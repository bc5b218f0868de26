"""Who the client of a request is, and what servers are told about it.

Anybody can write `X-Forwarded-For`, so it only counts on connections from trusted proxies, and
only as far as trusted proxies wrote it: the list of hops is walked from its end, and the first hop
that is not a trusted proxy is the client.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from trio_lb.plan import ForwardedField

from . import forwarded
from .admission import IDENTITY
from .proxy_protocol import Endpoint, ProxyHeader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_lb.plan import TrustedNetwork

    from .heads import Field, FieldLine

#: The address of whoever comes by a unix socket, and what servers are told of it.
UNIX: Final = "unix:"
_UNKNOWN: Final = b"unknown"

_SCHEME: Final = b"http"

_TEXT: Final = re.compile(rb"[\t -~]*")
_PROTO: Final = re.compile(rb"https?|wss?", re.IGNORECASE)  # some proxies say wss for WebSocket
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_PORT: Final = re.compile(rb"[1-9][0-9]{0,4}")


class Peer(NamedTuple):
    """Who is at the other end of a client's connection: a client, or a proxy of others.

    Attributes:
        address: IP address, or `UNIX`.
        trusted: what it says about clients is believed.
        ends: both ends of the connection, as it was made or as a PROXY header has told.
    """

    address: str
    trusted: bool
    ends: ProxyHeader


class ClientIdentity(NamedTuple):
    """Who a request is from.

    Attributes:
        address: the client's IP address, or `UNIX`.
        lines: the field lines that tell servers.
        ends: the same for servers that get a PROXY header.
    """

    address: str
    lines: list[FieldLine]
    ends: ProxyHeader


class Identification:
    """How clients are told from the proxies before them.

    Args:
        trusted: the networks of proxies that are believed.
        field: whether servers get Forwarded, X-Forwarded-..., or both.
    """

    def __init__(self, trusted: Iterable[TrustedNetwork], field: ForwardedField) -> None:
        self._trusted = frozenset(trusted)
        self._field = field

    @property
    def tells_our_end(self) -> bool:
        """Whether servers are told our end of a client's connection as well."""
        return self._field is not ForwardedField.OFF

    def peer(self, source: tuple[str, int] | None, destination: tuple[str, int] | None) -> Peer:
        """The peer of a new connection.

        Args:
            source, destination: IP address and port of its ends; None for a unix socket.
        """
        ends = ProxyHeader(_endpoint(source), _endpoint(destination))
        address = UNIX if ends.source is None else ends.source.host
        return Peer(address, self._trusts(address), ends)

    def peer_behind(self, header: ProxyHeader, proxy: Peer) -> Peer:
        """The peer that a trusted proxy's PROXY header speaks of.

        Somebody at a unix socket of that proxy is nobody whom we know, and not trusted.
        """
        if header.local:
            return proxy
        if header.source is None:
            return Peer(UNIX, False, header)
        return self.peer(header.source, header.destination)

    def identify(self, peer: Peer, fields: list[Field], host: bytes | None) -> ClientIdentity:
        """The client of a request.

        Args:
            peer: where it comes from.
            fields: all of its field lines.
            host: what its Host says, after admission.
        """
        claims = _claims(fields) if peer.trusted else {}
        lines: list[FieldLine] = []
        elements: list[forwarded.Element] = []
        if self._field is not ForwardedField.OFF:
            elements = _elements(claims.get(b"forwarded", b""))
        if self._field is ForwardedField.ONLY:
            address = self._client(peer, [element.get(b"for", b"") for element in elements])
        else:
            hops = claims.get(b"x-forwarded-for", b"")
            address = self._client(
                peer, [hop for each in hops.split(b",") if (hop := each.strip())]
            )
            lines += _x_forwarded(peer, claims, host)
            lines.append((b"X-Real-IP", _named(address)))
        if self._field is not ForwardedField.OFF:
            lines.append((b"Forwarded", forwarded.write([*elements, _element(peer, host)])))
        ends = peer.ends if address == peer.address else ProxyHeader(Endpoint(address, 0))
        return ClientIdentity(address, lines, ends)

    def _client(self, peer: Peer, hops: list[bytes]) -> str:
        """The last hop that no trusted proxy is, or the farthest one that can be told."""
        address = peer.address
        if peer.trusted:
            for hop in reversed(hops):
                claimed = _hop(hop)
                if claimed is None:
                    break
                address = claimed
                if not self._trusts(address):
                    break
        return address

    def _trusts(self, address: str) -> bool:
        if not self._trusted:
            return False
        if address == UNIX:
            return "unix" in self._trusted
        ip = ipaddress.ip_address(address)
        return any(each != "unix" and ip in each for each in self._trusted)


def _x_forwarded(peer: Peer, claims: dict[bytes, bytes], host: bytes | None) -> Iterable[FieldLine]:
    """The X-Forwarded- fields: what a trusted proxy claims, and for the rest what we know."""
    earlier = claims.get(b"x-forwarded-for", b"")
    if not earlier:
        yield b"X-Forwarded-For", _named(peer.address)
    elif peer.address == UNIX:  # has no address to add
        yield b"X-Forwarded-For", earlier
    else:
        yield b"X-Forwarded-For", earlier + b", " + _named(peer.address)
    proto = claims.get(b"x-forwarded-proto", b"")
    yield b"X-Forwarded-Proto", proto if _PROTO.fullmatch(proto) else _SCHEME
    claimed_host = claims.get(b"x-forwarded-host", b"")
    if _HOST.fullmatch(claimed_host):
        yield b"X-Forwarded-Host", claimed_host
    elif host is not None:
        yield b"X-Forwarded-Host", host
    port = claims.get(b"x-forwarded-port", b"")
    if _PORT.fullmatch(port) and int(port) <= 65535:
        yield b"X-Forwarded-Port", port


def _element(peer: Peer, host: bytes | None) -> forwarded.Element:
    """What we say in Forwarded about the connection with `peer`."""
    source = None if peer.address == UNIX else peer.address
    element = {b"for": forwarded.node(source), b"proto": _SCHEME}
    if host is not None:
        element[b"host"] = host
    if peer.ends.destination is not None:
        element[b"by"] = forwarded.node(*peer.ends.destination)
    return element


def _claims(fields: list[Field]) -> dict[bytes, bytes]:
    """The identity fields of a request by their names; several lines of one are one list."""
    claims: dict[bytes, bytes] = {}
    for _, name, value in fields:
        if name in IDENTITY and _TEXT.fullmatch(value):
            claims[name] = claims[name] + b", " + value if name in claims else value
    return claims


def _elements(value: bytes) -> list[forwarded.Element]:
    """The hops in a Forwarded field; none of them counts if one is malformed."""
    try:
        return forwarded.parse(value)
    except ValueError:
        return []


def _hop(text: bytes) -> str | None:
    """The address of a hop, or None: malformed, hidden or unknown.

    Ports may follow, and IPv6 may do without its brackets (there is no norm for X-Forwarded-For).
    """
    if text.count(b":") > 1 and not text.startswith(b"["):
        text = b"[" + text + b"]"
    try:
        address = forwarded.parse_node(text)
    except ValueError:
        return None
    return None if address is None else _canonical(address)


def _named(address: str) -> bytes:
    return _UNKNOWN if address == UNIX else address.encode("ascii")


def _endpoint(end: tuple[str, int] | None) -> Endpoint | None:
    return None if end is None else Endpoint(_canonical(end[0]), end[1])


def _canonical(address: str) -> str:
    """An IP address without its zone; IPv4 as such, also where a socket is for both versions."""
    if ":" not in address:
        return address
    ip = ipaddress.IPv6Address(address.partition("%")[0])
    return str(ip.ipv4_mapped or ip)
