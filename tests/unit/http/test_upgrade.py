"""What is offered on, and what takes up an offer."""

from __future__ import annotations

import pytest

from trio_lb.http.framing import NO_BODY
from trio_lb.http.heads import Field, ResponseHead
from trio_lb.http.upgrade import offered, takes_up


@pytest.mark.parametrize(
    ("values", "offers"),
    [
        ([b"websocket"], (b"websocket",)),
        ([b"WebSocket"], (b"WebSocket",)),
        ([b"a/1.0, b"], (b"a/1.0", b"b")),
        ([b"a", b"b ,,\tc"], (b"a", b"b", b"c")),
        ([b""], ()),
        ([b"h2c"], ()),
        ([b"H2C, websocket"], (b"websocket",)),
        ([b"websocket,h2"], (b"websocket",)),
        ([b"HTTP/2.0, http/3"], ()),
        ([b"two words, c"], (b"c",)),
        ([b"a/b/c, a/, /b, \xe4, a;b"], ()),
    ],
)
def test_offers(values: list[bytes], offers: tuple[bytes, ...]) -> None:
    assert offered(b"1.1", [b"keep-alive", b"upgrade"], values) == offers


def test_an_offer_needs_its_connection_option_and_http_1_1() -> None:
    assert offered(b"1.1", [], [b"websocket"]) == ()
    assert offered(b"1.1", [b"keep-alive"], [b"websocket"]) == ()
    assert offered(b"1.0", [b"upgrade"], [b"websocket"]) == ()
    assert offered(b"1.1", [b"upgrade"], []) == ()


def fields(*values: bytes) -> list[Field]:
    return [(b"Upgrade", b"upgrade", value) for value in values]


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ([b"websocket"], True),
        ([b"WebSocket"], True),
        ([b"websocket, tls/1.0"], True),
        ([b"TLS/1.0", b"websocket"], True),
        ([b"tls"], False),
        ([b"tls/1.1"], False),
        ([b"websocket, other"], False),
        ([b"websocket", b"other"], False),
        ([b"h2c"], False),
        ([b""], False),
        ([], False),
    ],
)
def test_what_takes_up_an_offer(values: list[bytes], fits: bool) -> None:
    head = ResponseHead(101, b"", b"1.1", fields(*values), NO_BODY)
    assert takes_up(head, (b"websocket", b"TLS/1.0")) is fits
    assert takes_up(head, ()) is False
