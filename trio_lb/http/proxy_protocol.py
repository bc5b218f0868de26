"""The PROXY protocol, versions 1 and 2: a header before HTTP that says who the client is.

A proxy that only relays bytes can't add a field to a request, so it begins the connection with
this header (https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt). Read and written here
without IO; whether the sender is trusted is decided in `trio_lb.http.identity`.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import Final, Literal, NamedTuple

from trio_lb.errors import ClientError

#: Longest header of version 1 with its CRLF (section 2.1).
_LONGEST_V1: Final = 107

#: Longest header of version 2 that is read. The addresses have 216 bytes at most; behind them come
#: extensions (TLVs) such as a certificate's name. The length field could say up to 64 KiB.
LONGEST_V2: Final = 4096

_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_HEAD: Final = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21

_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")
_IPV4: Final = re.compile(rb"[0-9.]{7,15}")
_IPV6: Final = re.compile(rb"[0-9A-Fa-f:.]{2,39}")

#: By address family and transport of version 2, the length of both addresses with their ports.
#: How the client came, by stream or datagram, makes no difference to its address.
_IPV4_LENGTH, _IPV6_LENGTH, _UNIX_LENGTH = 12, 36, 216
_LENGTHS: Final = {
    0x00: 0,
    **dict.fromkeys((0x11, 0x12), _IPV4_LENGTH),
    **dict.fromkeys((0x21, 0x22), _IPV6_LENGTH),
    **dict.fromkeys((0x31, 0x32), _UNIX_LENGTH),
}


class Endpoint(NamedTuple):
    """One end of a TCP connection.

    Attributes:
        host: IP address in its canonical text.
        port: 0 where it is not known.
    """

    host: str
    port: int


class ProxyHeader(NamedTuple):
    """What a header says.

    Attributes:
        source: who connected; None if it was from a unix socket or in another unknown way.
        destination: where to; None likewise.
        local: the connection is the proxy's own (a health check, say), or it says nothing of the
            client: the connection's own ends count.
    """

    source: Endpoint | None = None
    destination: Endpoint | None = None
    local: bool = False


LOCAL: Final = ProxyHeader(local=True)


def parse(data: bytes) -> tuple[ProxyHeader, int] | None:
    """Read the header at the beginning of `data`.

    Returns:
        The header and its length in bytes, or None if more bytes are needed to tell.

    Raises:
        ClientError: this is not, and can't become, a header; said at the first byte that shows it.
    """
    if data[: len(_V2)] == _V2[: len(data)]:
        return _parse_v2(data)
    if data[: len(_V1)] == _V1[: len(data)]:
        return _parse_v1(data)
    raise ClientError("the connection does not begin with a PROXY header")


def _parse_v1(data: bytes) -> tuple[ProxyHeader, int] | None:
    end = data.find(b"\r\n", 0, _LONGEST_V1)
    if end < 0:
        if len(data) >= _LONGEST_V1:
            raise ClientError("a PROXY header without an end")
        return None
    words = data[len(_V1) : end].split(b" ")
    if words[0] == b"UNKNOWN":  # what follows is to be ignored
        return LOCAL, end + 2
    if len(words) != 5 or words[0] not in (b"TCP4", b"TCP6"):
        raise ClientError("a malformed PROXY header of version 1")
    version = 4 if words[0] == b"TCP4" else 6
    source = Endpoint(_address_v1(words[1], version), _port_v1(words[3]))
    destination = Endpoint(_address_v1(words[2], version), _port_v1(words[4]))
    return ProxyHeader(source, destination), end + 2


def _address_v1(text: bytes, version: int) -> str:
    try:
        if version == 4 and _IPV4.fullmatch(text):
            return str(ipaddress.IPv4Address(text.decode("ascii")))
        if version == 6 and _IPV6.fullmatch(text):
            return str(ipaddress.IPv6Address(text.decode("ascii")))
    except ValueError:
        pass
    raise ClientError("a PROXY header with a malformed address")


def _port_v1(text: bytes) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise ClientError("a PROXY header with a malformed port")
    return int(text)


def _parse_v2(data: bytes) -> tuple[ProxyHeader, int] | None:
    # What is wrong in a part that is here is said at once; a sender may wait for more to happen.
    if len(data) > 12 and data[12] not in (_LOCAL, _PROXY):
        raise ClientError("a PROXY header of an unknown version or with an unknown command")
    if len(data) < _V2_HEAD.size:
        return None
    _, command, family, length = _V2_HEAD.unpack_from(data)
    end = _V2_HEAD.size + length
    if end > LONGEST_V2:
        raise ClientError(f"a PROXY header of more than {LONGEST_V2} bytes")
    if command == _PROXY and length < _length_of(family):
        raise ClientError("a PROXY header that is too short for its addresses")
    if len(data) < end:
        return None
    if command == _LOCAL:
        return LOCAL, end
    return _addresses_v2(data[_V2_HEAD.size : _V2_HEAD.size + _length_of(family)]), end


def _length_of(family: int) -> int:
    if family not in _LENGTHS:
        raise ClientError("a PROXY header with an unknown address family or transport")
    return _LENGTHS[family]


def _addresses_v2(block: bytes) -> ProxyHeader:
    """What a block of addresses says; the extensions behind it are ignored."""
    if not block:
        return LOCAL
    if len(block) == _UNIX_LENGTH:
        return ProxyHeader()
    size = 4 if len(block) == _IPV4_LENGTH else 16
    make = ipaddress.IPv4Address if size == 4 else ipaddress.IPv6Address
    source_port, destination_port = struct.unpack_from("!HH", block, 2 * size)
    return ProxyHeader(
        Endpoint(str(make(block[:size])), source_port),
        Endpoint(str(make(block[size : 2 * size])), destination_port),
    )


def write_header(header: ProxyHeader, version: Literal["v1", "v2"] | None) -> bytes:
    """A header in a version; nothing in none."""
    if version is None:
        return b""
    return write_v1(header) if version == "v1" else write_v2(header)


def write_v1(header: ProxyHeader) -> bytes:
    """A header of version 1; `UNKNOWN` where the client has no IP address.

    An end that is not known, or of the other IP version, is written as all zeros: the protocol has
    room for one version only.
    """
    ends = _same_family(header)
    if ends is None:
        return b"PROXY UNKNOWN\r\n"
    version, source, destination = ends
    return (
        f"PROXY TCP{version} {source.host} {destination.host} {source.port} {destination.port}\r\n"
    ).encode("ascii")


def write_v2(header: ProxyHeader) -> bytes:
    """A header of version 2, likewise; `LOCAL` for a connection of our own."""
    if header.local:
        return _V2_HEAD.pack(_V2, _LOCAL, 0, 0)
    ends = _same_family(header)
    if ends is None:
        return _V2_HEAD.pack(_V2, _PROXY, 0, 0)
    version, source, destination = ends
    block = b"".join(
        (
            ipaddress.ip_address(source.host).packed,
            ipaddress.ip_address(destination.host).packed,
            struct.pack("!HH", source.port, destination.port),
        )
    )
    return _V2_HEAD.pack(_V2, _PROXY, 0x11 if version == 4 else 0x21, len(block)) + block


def _same_family(header: ProxyHeader) -> tuple[int, Endpoint, Endpoint] | None:
    """IP version and both ends of a header; None where the client has no IP address."""
    if header.source is None:
        return None
    version = ipaddress.ip_address(header.source.host).version
    destination = header.destination
    if destination is None or ipaddress.ip_address(destination.host).version != version:
        port = 0 if destination is None else destination.port
        destination = Endpoint("0.0.0.0" if version == 4 else "::", port)
    return version, header.source, destination
