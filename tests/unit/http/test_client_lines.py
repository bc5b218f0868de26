"""What servers are told about clients on the fast path."""

from __future__ import annotations

import pytest

from trio_lb.config import ForwardedField
from trio_lb.fast.http1 import read_request
from trio_lb.http.client_lines import client_lines, from_here
from trio_lb.http.identity import Identification, Peer

TOLD = Identification((), ForwardedField.OFF)
TCP = TOLD.peer(("192.0.2.1", 4711), ("192.0.2.2", 80))
UNIX = TOLD.peer(None, None)


@pytest.mark.parametrize("peer", [TCP, TCP._replace(trusted=True), UNIX])
@pytest.mark.parametrize("host", [b"example.com", b"example.com:8080"])
@pytest.mark.parametrize("field", ForwardedField)
def test_they_are_told_the_same_as_on_the_slow_path(
    peer: Peer, host: bytes, field: ForwardedField
) -> None:
    identification = Identification((), field)
    request = read_request(
        b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host,
        head_limit=1000,
        target_limit=100,
        field_limit=10,
    )
    assert request
    lines = client_lines(identification, peer.address, peer.ends.destination)
    expected = identification.identify(peer, request.parts[3], host).lines
    written = request.write(lines, b"id", b"").split(b"\r\n")
    assert written[3:-3] == [b"%b: %b" % line for line in expected]


def test_a_request_whose_body_is_partly_gone() -> None:
    """Only its framing changes: not what looks like it in the target, other fields, or the body."""
    head = b"PUT /a HTTP/1.1\r\nX-Content-Length: 7\r\nHost: a\r\nCONTENT-length:\t 1000\r\n\r\n"
    rest = b"\r\nContent-Length: 5\r\n"
    assert from_here(head + rest, 979) == head.replace(b"1000", b"21") + rest
    assert from_here(head, 1000) == head.replace(b"1000", b"0")
    chunked = b"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert from_here(chunked + rest, 979) == chunked + rest
