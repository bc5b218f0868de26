"""The lines of an access log, and their model in Python, byte for byte."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support import access_lines
from trio_lb.errors import End
from trio_lb.http.framing import NO_BODY
from trio_lb.http.heads import RequestHead
from trio_lb.observe.access_log import AccessLog
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


def lines_of(*records: Record, json: bool = False) -> bytes:
    """What the access log makes of records."""
    line_format: Literal["combined", "json"] = "json" if json else "combined"
    log = AccessLog("-", line_format, lambda _: pytest.fail("lost"), len(records), "-")
    for record in records:
        log.record(record)
    return log._lines(log.buffer.take())


def combined_line(record: Record) -> bytes:
    return lines_of(record)


def json_line(record: Record) -> bytes:
    return lines_of(record, json=True)


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


SECONDS = st.integers(0, 10**12).map(lambda micros: micros / 1e6) | st.integers(0, 2000).map(
    lambda micros: micros / 1e6
)
#: All that is special somewhere: quotes, controls, UTF-8 of every length, cut and overlong.
BYTES = st.binary(max_size=60) | st.lists(
    st.sampled_from(
        [
            b'"',
            b"\\",
            b"\n",
            b"\x08\x0c\t\r",
            b"\x1f",
            b"\x7f",
            b"/a",
            b"\x80",
            b"\xff",
            b"\xc0\xaf",
        ]
        + [text.encode() for text in ("é", "\u2028", "😀", "\U0010ffff", "\ufffd")]
        + [b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe0\x80\x80"]
    )
).map(b"".join)
NAMED = st.lists(
    st.tuples(st.sampled_from([b"Referer", b"User-Agent", b"user-agent", b"Host"]), BYTES).map(
        lambda field: (field[0], field[0].lower(), field[1])
    ),
    max_size=4,
)
#: Names and reasons come from the profile and from us, and may have any character that there is.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
RECORDS = st.builds(
    Record,
    began=st.just(0.0),
    client=TEXT,
    head=st.none()
    | st.builds(RequestHead, BYTES.filter(len), BYTES, BYTES, NAMED, st.just(NO_BODY)),
    request_id=BYTES,
    server=st.none() | TEXT,
    status=st.integers(0, 999),
    bytes_sent=st.integers(0, 2**64 - 1),
    bytes_received=st.integers(0, 2**64 - 1),
    attempts=st.lists(st.builds(Attempt, TEXT, TEXT, SECONDS, st.booleans()), max_size=3),
    ended=st.sampled_from(End),
    reason=TEXT,
    duration_s=SECONDS,
    # As far as datetime goes, in microseconds that a float tells apart.
    time=st.integers(0, 4 * 10**15).map(lambda micros: micros / 1e6),
)


@given(st.lists(RECORDS, max_size=4))
@example([replace(RECORD, duration_s=micros / 1e6) for micros in range(1200)])
@example([replace(RECORD, time=day * 86400.0) for day in range(0, 40000, 13)])
def test_the_lines_are_those_of_the_model(records: list[Record]) -> None:
    for json_too in (False, True):
        model = access_lines.json_line if json_too else access_lines.combined_line
        assert lines_of(*records, json=json_too) == b"".join(map(model, records))


@pytest.mark.parametrize(
    "special", [b'"', b"\\", b"\x1f", b"\x7f", b"\x80", "é".encode(), b" ", b"~"]
)
def test_what_is_special_is_found_at_every_place(special: bytes) -> None:
    records = [
        sent(target=b"x" * place + special + b"y" * (length - place))
        for length in range(50)
        for place in range(length + 1)
    ]
    for json_too in (False, True):
        model = access_lines.json_line if json_too else access_lines.combined_line
        assert lines_of(*records, json=json_too) == b"".join(map(model, records))


def test_no_records_are_no_lines() -> None:
    assert lines_of() == lines_of(json=True) == b""
