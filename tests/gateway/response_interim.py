"""Responses that come before, beside or instead of the one that was asked for."""

from __future__ import annotations

from tests.gateway.cases import (
    Ending,
    Then,
    bad_gateway,
    early,
    get,
    message,
    octets,
    ok,
    passed,
    post,
)

INTERIM = "9110 15.2"
CONTINUE = "9110 10.1.1"
HINTS = "8297 2"
SWITCH = "9110 15.2.2"
EARLY = "9112 9.5"

HELLO = ok("Content-Length: 5", body="hello")
REFUSAL = ok("Content-Length: 2", body="no", line="HTTP/1.1 413 Content Too Large")
EXPECTING = post("Expect: 100-continue", "Content-Length: 5", body="hello")


def hints(*fields: str, status: str = "103 Early Hints") -> bytes:
    """An interim response."""
    return message(f"HTTP/1.1 {status}", *fields)


INTERIM_CASES = [
    passed("hints", HINTS, hints("Link: </b>; rel=preload") + HELLO, "hello", interim=[103]),
    passed("hints-twice", HINTS, hints() + hints() + HELLO, "hello", interim=[103, 103]),
    passed("processing", INTERIM, hints(status="102 Processing") + HELLO, "hello", interim=[102]),
    passed("interim-nobody-knows", INTERIM, hints(status="199 ?") + HELLO, "hello", interim=[199]),
    passed("hints-fifty-times", INTERIM, hints() * 50 + HELLO, "hello", interim=[103] * 50),
    passed(
        "hints-for-a-1.0-client",
        INTERIM,
        hints() + HELLO,
        "hello",
        ask=get(version="1.0"),
        ending=Ending.CLOSED,
    ),
    passed(
        "continue-that-was-asked-for",
        CONTINUE,
        hints(status="100 Continue") + HELLO,
        "hello",
        interim=[100],
        ask=EXPECTING,
    ),
    passed("continue-that-was-not", CONTINUE, hints(status="100 Continue") + HELLO, "hello"),
    passed(
        "hints-with-a-length",
        "9110 8.6",
        hints("Content-Length: 5") + HELLO,
        "hello",
        interim=[103],
    ),
    bad_gateway("hints-and-nothing", "9112 8", hints(), interim=[103], then=Then.CLOSE),
    bad_gateway(
        "hints-and-rubbish", "not HTTP", hints() + octets("rubbish\r\n\r\n"), interim=[103]
    ),
    bad_gateway("hints-150-times", "a flood", hints() * 150 + HELLO, interim=[103] * 100),
    bad_gateway("hints-with-bare-cr", "response splitting", hints("X: y\rLink: b") + HELLO),
    bad_gateway("hints-with-nul", "9110 5.5", hints("X: \0") + HELLO),
    bad_gateway("hints-of-70000", "limit", hints("X: " + "y" * 70_000) + HELLO),
]

#: What comes of a switch that is granted, tests/proxy/test_tunnel.py has.
OFFERING = get("Connection: Upgrade", "Upgrade: websocket")

SWITCH_CASES = [
    bad_gateway(
        "switch-unasked", SWITCH, hints(status="101 Switching Protocols") + octets("\0\1\2")
    ),
    bad_gateway(
        "switch-unasked-to-something",
        SWITCH,
        hints("Connection: Upgrade", "Upgrade: websocket", status="101 Switching Protocols")
        + HELLO,
    ),
    bad_gateway(
        "switch-to-something-else",
        "9110 7.8",
        hints("Connection: Upgrade", "Upgrade: b", status="101 Switching Protocols") + HELLO,
        ask=OFFERING,
    ),
    bad_gateway(
        "switch-to-nothing",
        "9110 15.2.2",
        hints(status="101 Switching Protocols") + HELLO,
        ask=OFFERING,
    ),
    passed("switch-declined", "9110 7.8", HELLO, "hello", ask=OFFERING),
    passed(
        "switch-demanded",
        "9110 15.5.22",
        ok("Content-Length: 0", "Upgrade: b", "Connection: upgrade", line="HTTP/1.1 426 ?"),
        status=426,
        ask=OFFERING,
    ),
]

EARLY_CASES = [
    early(
        "early-refusal",
        EARLY,
        REFUSAL,
        "no",
        status=413,
        ask=post("Content-Length: 200000", body="b" * 70_000),
    ),
    early(
        "early-refusal-of-chunks",
        EARLY,
        REFUSAL,
        "no",
        status=413,
        ask=post("Transfer-Encoding: chunked", body="5\r\nhello\r\n"),
    ),
    early(
        "early-success",
        EARLY,
        HELLO,
        "hello",
        status=200,
        ask=post("Content-Length: 200000", body="b"),
    ),
    early(
        "early-refusal-of-who-waits",
        CONTINUE,
        REFUSAL,
        "no",
        status=413,
        ask=post("Expect: 100-continue", "Content-Length: 5"),
    ),
]

CASES = [*INTERIM_CASES, *SWITCH_CASES, *EARLY_CASES]
