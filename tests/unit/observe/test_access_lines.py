"""The lines of an access log."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from trio_lb.errors import End
from trio_lb.http.framing import NO_BODY
from trio_lb.http.heads import RequestHead
from trio_lb.observe.access_lines import combined_line, json_line
from trio_lb.observe.record import Attempt, Record

HEAD = RequestHead(
    b"GET",
    b"/a?b=c",
    b"1.1",
    [
        (b"Referer", b"referer", b"http://example.com/start"),
        (b"User-Agent", b"user-agent", b"curl/8.0"),
    ],
    NO_BODY,
)

RECORD = Record(
    began=0.0,
    time=1782907200.1239,
    client="192.0.2.7",
    head=HEAD,
    status=200,
    bytes_sent=2326,
    bytes_received=0,
    duration_s=0.0123456789,
    request_id=b"4f1c",
    server="web",
    attempts=[Attempt("app", "refused", 0.00125, False), Attempt("web", "ok", 0.01, True)],
    ended=End.OK,
    reason="ok",
)


def sent(
    method: bytes = b"GET",
    target: bytes = b"/a?b=c",
    version: bytes = b"1.1",
    referer: bytes | None = b"http://example.com/start",
    user_agent: bytes | None = b"curl/8.0",
) -> Record:
    """The record of another request."""
    named = ((b"Referer", referer), (b"User-Agent", user_agent))
    fields = [(name, name.lower(), value) for name, value in named if value is not None]
    return replace(RECORD, head=RequestHead(method, target, version, fields, NO_BODY))


# What a simple log parser does with a combined line.
COMBINED = re.compile(
    r'(?P<client>\S+) - - \[(?P<time>[^]]+)\] "(?P<request>[^"]*)" (?P<status>\d{3}) '
    r'(?P<bytes_sent>\d+) "(?P<referer>[^"]*)" "(?P<user_agent>[^"]*)"\n'
)


def unescaped(field: str) -> bytes:
    code = re.compile(rb"\\x([0-9A-F]{2})")
    return code.sub(lambda found: bytes([int(found[1], 16)]), field.encode("ascii"))


def test_combined_line() -> None:
    assert combined_line(RECORD) == (
        b'192.0.2.7 - - [01/Jul/2026:12:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 2326 '
        b'"http://example.com/start" "curl/8.0"\n'
    )


def test_combined_line_of_what_was_no_request() -> None:
    nothing = replace(RECORD, client="unix:", head=None, status=0, bytes_sent=0)
    assert combined_line(nothing) == (b'unix: - - [01/Jul/2026:12:00:00 +0000] "-" 000 0 "-" "-"\n')


def test_combined_line_escapes() -> None:
    line = combined_line(sent(user_agent=b'a"b\\c\r\n\x1b[31m\x7f\xc3\xa9'))
    assert line.endswith(rb'"a\x22b\x5Cc\x0D\x0A\x1B[31m\x7F\xC3\xA9"' + b"\n")


def test_json_line() -> None:
    assert json.loads(json_line(RECORD)) == {
        "time": "2026-07-01T12:00:00.123Z",
        "client": "192.0.2.7",
        "method": "GET",
        "target": "/a?b=c",
        "version": "1.1",
        "status": 200,
        "bytes_sent": 2326,
        "bytes_received": 0,
        "duration_s": 0.012346,
        "request_id": "4f1c",
        "referer": "http://example.com/start",
        "user_agent": "curl/8.0",
        "server": "web",
        "attempts": [
            {"server": "app", "outcome": "refused", "duration_s": 0.00125, "reused": False},
            {"server": "web", "outcome": "ok", "duration_s": 0.01, "reused": True},
        ],
        "ended": "ok",
        "reason": None,
    }


def test_json_line_with_nothing_to_tell() -> None:
    nothing = replace(RECORD, head=None, server=None, attempts=[])
    values = json.loads(json_line(nothing))
    assert [values[key] for key in ("referer", "user_agent", "server")] == [None, None, None]
    assert values["attempts"] == []


def test_json_line_keeps_unicode_and_shows_other_bytes() -> None:
    line = json_line(sent(target="/é\u202e".encode(), user_agent=b"\xff\x00"))
    assert rb"/\u00e9\u202e" in line
    assert json.loads(line)["user_agent"] == "\\xff\0"


@given(
    st.fixed_dictionaries(
        {
            "method": st.binary(min_size=1),
            "target": st.binary(),
            "version": st.binary(),
            "referer": st.none() | st.binary(min_size=1),
            "user_agent": st.none() | st.binary(min_size=1),
        }
    )
)
def test_nothing_that_a_client_sends_can_forge_a_line(values: dict[str, Any]) -> None:
    record = sent(**values)
    for line in (combined_line(record), json_line(record)):
        assert all(32 <= byte < 127 for byte in line[:-1].replace(b"\x7f", b""))
        assert line[-1:] == b"\n"
    found = COMBINED.fullmatch(combined_line(record).decode())
    assert found is not None
    assert unescaped(found["request"]) == b"%(method)b %(target)b HTTP/%(version)b" % {
        key.encode(): value for key, value in values.items()
    }
    for key in ("referer", "user_agent"):
        assert unescaped(found[key]) == (values[key] or b"-")
