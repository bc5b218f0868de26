"""The PROXY protocol: each rule of its text, whole and byte by byte; what is written is read."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_lb.errors import ClientError
from trio_lb.http.proxy_protocol import (
    LOCAL,
    LONGEST_V2,
    Endpoint,
    ProxyHeader,
    parse,
    write_header,
    write_v1,
    write_v2,
)

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
REST = b"GET / HTTP/1.1\r\n\r\n"

V4 = ProxyHeader(Endpoint("192.0.2.7", 50000), Endpoint("198.51.100.1", 443))
V6 = ProxyHeader(Endpoint("2001:db8::7", 50000), Endpoint("2001:db8::1", 443))
UNIX = ProxyHeader()
BLOCK_V4 = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 50000, 443)
BLOCK_V6 = (
    bytes.fromhex("20010db8000000000000000000000007" + "20010db8000000000000000000000001")
    + BLOCK_V4[8:]
)
BLOCK_UNIX = b"/client".ljust(108, b"\0") + b"/server".ljust(108, b"\0")


def v2(command: int, family: int, block: bytes, length: int | None = None) -> bytes:
    """A header of version 2 with these bytes."""
    length = len(block) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, length) + block


def tlv(kind: int, value: bytes) -> bytes:
    """An extension."""
    return struct.pack("!BH", kind, len(value)) + value


RIGHT = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n", V4),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n", V6),
    "v1 TCP6 in full": (b"PROXY TCP6 2001:DB8:0:0:0:0:0:7 2001:db8::1 50000 443\r\n", V6),
    "v1 ports at their ends": (
        b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
        ProxyHeader(Endpoint("0.0.0.0", 0), Endpoint("255.255.255.255", 65535)),
    ),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", LOCAL),
    "v1 unknown with more": (b"PROXY UNKNOWN ffff::1 \x01\xff anything 1\r\n", LOCAL),
    "v1 the longest": (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", LOCAL),
    "v2 TCP over IPv4": (v2(0x21, 0x11, BLOCK_V4), V4),
    "v2 UDP over IPv4": (v2(0x21, 0x12, BLOCK_V4), V4),
    "v2 TCP over IPv6": (v2(0x21, 0x21, BLOCK_V6), V6),
    "v2 UDP over IPv6": (v2(0x21, 0x22, BLOCK_V6), V6),
    "v2 unix stream": (v2(0x21, 0x31, BLOCK_UNIX), UNIX),
    "v2 unix datagram": (v2(0x21, 0x32, BLOCK_UNIX), UNIX),
    "v2 unspecified": (v2(0x21, 0x00, b""), LOCAL),
    "v2 unspecified with more": (v2(0x21, 0x00, b"whatever"), LOCAL),
    "v2 local": (v2(0x20, 0x00, b""), LOCAL),
    "v2 local, addresses ignored": (v2(0x20, 0x11, BLOCK_V4), LOCAL),
    "v2 local, all is ignored": (v2(0x20, 0xFF, b"\xff"), LOCAL),
    "v2 with extensions": (v2(0x21, 0x11, BLOCK_V4 + tlv(4, b"\0" * 9) + tlv(2, b"host")), V4),
    "v2 with broken extensions": (v2(0x21, 0x21, BLOCK_V6 + b"\x01\xff\xff"), V6),
    "v2 the longest": (v2(0x21, 0x31, BLOCK_UNIX.ljust(LONGEST_V2 - 16, b"x")), UNIX),
}

# Where the last byte is the one that shows it.
WRONG = {
    "nothing like it": b"G",
    "lower case": b"p",
    "almost": b"PROXYX",
    "a tab": b"PROXY\t",
    "TLS": b"\x16",
    "an empty line": b"\r\n\r\nG",
    "v1 without an end": b"PROXY UNKNOWN " + b"x" * 93,
    "v1 with a CR at its end": b"PROXY UNKNOWN " + b"x" * 92 + b"\r",
    "v1 too long by one": b"PROXY UNKNOWN " + b"f" * 92 + b"\r",
    "v1 of another protocol": b"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n",
    "v1 in small letters": b"PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n",
    "v1 of UDP": b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
    "v1 with nothing": b"PROXY \r\n",
    "v1 unknown and more": b"PROXY UNKNOWNS\r\n",
    "v1 with too little": b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
    "v1 with too much": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
    "v1 with two spaces": b"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
    "v1 with a space at its end": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
    "v1 with a bare LF": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n\r\n",
    "v1 with IPv6 in TCP4": b"PROXY TCP4 ::1 ::1 1 1\r\n",
    "v1 with IPv4 in TCP6": b"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
    "v1 with a short address": b"PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n",
    "v1 with a zero before": b"PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n",
    "v1 with a large byte": b"PROXY TCP4 256.2.3.4 1.2.3.4 1 1\r\n",
    "v1 with a wrong destination": b"PROXY TCP4 1.2.3.4 1.2.3.x 1 1\r\n",
    "v1 with a name": b"PROXY TCP4 localhost 1.2.3.4 1 1\r\n",
    "v1 with a zone": b"PROXY TCP6 fe80::1%a ::1 1 1\r\n",
    "v1 with brackets": b"PROXY TCP6 [::1] ::1 1 1\r\n",
    "v1 with a large port": b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n",
    "v1 with a large destination port": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n",
    "v1 with a signed port": b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n",
    "v1 with a zero before a port": b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
    "v1 with an empty port": b"PROXY TCP4 1.2.3.4 1.2.3.4  1\r\n",
    "v1 with other digits": "PROXY TCP4 1.2.3.4 1.2.3.4 ١ 1\r\n".encode(),
    "v2 signature broken": SIGNATURE[:11] + b"\r",
    "v2 of version 1": SIGNATURE + b"\x11",
    "v2 of version 3": SIGNATURE + b"\x31",
    "v2 with another command": SIGNATURE + b"\x22",
    "v2 too long": v2(0x20, 0x00, b"", LONGEST_V2 - 15),
    "v2 of any length": v2(0x21, 0x11, b"", 0xFFFF),
    "v2 of another family": v2(0x21, 0x41, b""),
    "v2 of another transport": v2(0x21, 0x13, b"", 12),
    "v2 IPv4 without a transport": v2(0x21, 0x10, b"", 12),
    "v2 unspecified with a transport": v2(0x21, 0x01, b""),
    "v2 IPv4 too short": v2(0x21, 0x11, b"", 11),
    "v2 IPv6 too short": v2(0x21, 0x21, b"", 35),
    "v2 unix too short": v2(0x21, 0x31, b"", 215),
}


@pytest.mark.parametrize("data", RIGHT.values(), ids=RIGHT)
@pytest.mark.parametrize("rest", [b"", REST], ids=["alone", "before a request"])
def test_right(data: tuple[bytes, ProxyHeader], rest: bytes) -> None:
    header, expected = data
    assert parse(header + rest) == (expected, len(header))


@pytest.mark.parametrize("data", RIGHT.values(), ids=RIGHT)
def test_right_byte_by_byte(data: tuple[bytes, ProxyHeader]) -> None:
    header, _ = data
    for length in range(len(header)):
        assert parse(header[:length]) is None


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_wrong_and_not_before_the_byte_that_shows_it(data: bytes) -> None:
    assert parse(data[:-1]) is None
    for rest in (b"", REST):
        with pytest.raises(ClientError):
            parse(data + rest)


def test_what_is_written() -> None:
    assert write_v1(V4) == RIGHT["v1 TCP4"][0]
    assert write_v1(V6) == RIGHT["v1 TCP6"][0]
    assert write_v2(V4) == RIGHT["v2 TCP over IPv4"][0]
    assert write_v2(V6) == RIGHT["v2 TCP over IPv6"][0]
    assert write_v1(LOCAL) == write_v1(UNIX) == b"PROXY UNKNOWN\r\n"
    assert write_v2(LOCAL) == v2(0x20, 0x00, b"")
    assert write_v2(UNIX) == v2(0x21, 0x00, b"")
    assert [write_header(V4, each) for each in (None, "v1", "v2")] == [
        b"",
        write_v1(V4),
        write_v2(V4),
    ]


@pytest.mark.parametrize("write", [write_v1, write_v2])
def test_a_destination_that_can_not_be_said_is_all_zeros(write: object) -> None:
    assert callable(write)
    for source, destination, said in [
        (V4.source, None, Endpoint("0.0.0.0", 0)),
        (V4.source, V6.destination, Endpoint("0.0.0.0", 443)),
        (V6.source, V4.destination, Endpoint("::", 443)),
    ]:
        data = write(ProxyHeader(source, destination))
        assert parse(data) == (ProxyHeader(source, said), len(data))


def endpoints(version: int) -> st.SearchStrategy[Endpoint]:
    """Any ends of one IP version."""
    addresses = st.ip_addresses(v=version).map(str)  # type: ignore[arg-type]
    return st.builds(Endpoint, addresses, st.integers(0, 65535))


HEADERS = st.sampled_from([4, 6]).flatmap(
    lambda version: st.builds(ProxyHeader, endpoints(version), endpoints(version), st.just(False))
)


@given(HEADERS | st.just(LOCAL), st.binary(max_size=40))
def test_what_is_written_is_read(header: ProxyHeader, rest: bytes) -> None:
    for data in (write_v1(header), write_v2(header)):
        assert parse(data + rest) == (header, len(data))


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY TCP4 ", SIGNATURE + b"\x21"]))
def test_any_bytes_are_a_header_or_none_or_wrong(data: bytes, start: bytes) -> None:
    data = start + data
    try:
        parsed = parse(data)
    except ClientError:
        return
    if parsed is None:
        assert len(data) < LONGEST_V2
        return
    header, length = parsed
    assert 0 < length <= len(data)
    assert parse(data[:length]) == parsed  # nothing behind its end counts
    assert parse(data[: length - 1]) is None
    assert parse(write_v2(header))
