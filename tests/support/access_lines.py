"""The model of `trio_lb.fast.record`: lines of an access log, in plain Python."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trio_lb.errors import End
from trio_lb.http.heads import find
from trio_lb.observe import units

if TYPE_CHECKING:
    from trio_lb.http.heads import RequestHead
    from trio_lb.observe.record import Record

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# As nginx does it: no quote within a quoted field, so that the simplest parser is right.
_ESCAPES = {code: f"\\x{code:02X}" for code in range(256) if not 32 <= code < 127 or code in b'"\\'}


def combined_line(record: Record) -> bytes:
    """The record in the combined format of Apache and nginx."""
    request, head = "-", record.head
    if head is not None:
        method, target, version = map(_escaped, (head.method, head.target, head.version))
        request = f"{method} {target} HTTP/{version}"
    line = (
        f"{_escaped(record.client.encode())} - - [{_common_log_time(int(record.time))}] "
        f'"{request}" {record.status:03} {record.bytes_sent} '
        f'"{_escaped_field(head, b"referer")}" "{_escaped_field(head, b"user-agent")}"\n'
    )
    return line.encode("ascii")


def json_line(record: Record) -> bytes:
    """The record as one JSON object; docs/reports.md lists its keys."""
    head = record.head
    values = {
        "time": units.timestamp(datetime.fromtimestamp(record.time, UTC), "milliseconds"),
        "client": record.client,
        "method": "" if head is None else _text(head.method),
        "target": "" if head is None else _text(head.target),
        "version": "" if head is None else _text(head.version),
        "status": record.status,
        "bytes_sent": record.bytes_sent,
        "bytes_received": record.bytes_received,
        "duration_s": round(record.duration_s, 6),
        "request_id": _text(record.request_id),
        "referer": _text_field(head, b"referer"),
        "user_agent": _text_field(head, b"user-agent"),
        "server": record.server,
        "attempts": [
            {
                "server": attempt.server,
                "outcome": attempt.outcome,
                "duration_s": round(attempt.duration_s, 6),
                "reused": attempt.reused,
            }
            for attempt in record.attempts
        ],
        "ended": record.ended,
        "reason": None if record.ended is End.OK else record.reason,
    }
    return json.dumps(values, separators=(",", ":")).encode("ascii") + b"\n"


def _common_log_time(second: int) -> str:
    at = time.gmtime(second)
    return (
        f"{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:"
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} +0000"
    )


def _escaped(value: bytes) -> str:
    return value.decode("latin-1").translate(_ESCAPES)


def _escaped_field(head: RequestHead | None, name: bytes) -> str:
    value = None if head is None else find(head.fields, name)
    return _escaped(value) if value else "-"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _text_field(head: RequestHead | None, name: bytes) -> str | None:
    value = None if head is None else find(head.fields, name)
    return None if value is None else _text(value)
