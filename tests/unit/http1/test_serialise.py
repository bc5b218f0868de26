"""Heads as bytes: one head in, one head out, whatever the parts contain."""

from __future__ import annotations

import contextlib

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_lb.http1.serialise import request_head, response_head

# Bytes that mean something in a head are likelier than others.
_ANY = st.lists(st.sampled_from([b"\r", b"\n", b"\0", b":", b" ", b"a", b"1", b"\xff"])).map(
    b"".join
)
_LINES = st.lists(st.tuples(_ANY, _ANY), max_size=4)


def test_a_request_head() -> None:
    head = request_head(b"GET", b"/a?b", [(b"Host", b"x"), (b"A", b"")])
    assert head == b"GET /a?b HTTP/1.1\r\nHost: x\r\nA: \r\n\r\n"


def test_a_response_head() -> None:
    assert (
        response_head(404, b"Nicht da", [(b"A", b"b")]) == b"HTTP/1.1 404 Nicht da\r\nA: b\r\n\r\n"
    )
    assert response_head(200, b"", []) == b"HTTP/1.1 200 \r\n\r\n"


@pytest.mark.parametrize("bad", [b"a\nb", b"a\rb", b"a\r\nb", b"\r\n", b"a\0b"])
@pytest.mark.parametrize("place", ["method", "target", "reason", "name", "value"])
def test_what_would_make_another_head_is_refused(place: str, bad: bytes) -> None:
    parts = {"method": b"GET", "target": b"/", "reason": b"OK", "name": b"A", "value": b"b"}
    parts[place] = bad
    lines = [(parts["name"], parts["value"])]
    if place != "reason":
        with pytest.raises(ValueError, match="line break or NUL"):
            request_head(parts["method"], parts["target"], lines)
    if place not in ("method", "target"):
        with pytest.raises(ValueError, match="line break or NUL"):
            response_head(200, parts["reason"], lines)


@given(method=_ANY, target=_ANY, lines=_LINES)
def test_a_head_has_as_many_lines_as_were_given(
    method: bytes, target: bytes, lines: list[tuple[bytes, bytes]]
) -> None:
    with contextlib.suppress(ValueError):
        head = request_head(method, target, lines)
        assert head.endswith(b"\r\n\r\n")
        first, *rest = head[:-4].split(b"\r\n") if lines else [head[:-4]]
        assert first == b"%b %b HTTP/1.1" % (method, target)
        assert rest == [b"%b: %b" % line for line in lines]
        assert not any(byte in line for line in (first, *rest) for byte in b"\r\n\0")


@given(reason=_ANY, lines=_LINES)
def test_a_response_that_h11_reads_is_the_one_that_was_meant(
    reason: bytes, lines: list[tuple[bytes, bytes]]
) -> None:
    with contextlib.suppress(ValueError, h11.RemoteProtocolError):
        head = response_head(200, reason, lines)
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        client.receive_data(head)
        event = client.next_event()
        assert isinstance(event, h11.Response)
        assert len(event.headers.raw_items()) == len(lines)
        assert client.trailing_data == (b"", False)
