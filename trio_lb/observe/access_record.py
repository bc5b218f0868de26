"""One finished request, and its line in an access log: combined format or JSON.

What clients sent is escaped so that a line stays one line of printable ASCII, whatever it was.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from trio_lb.errors import End  # noqa: TC001 -- msgspec looks at it
from trio_lb.observe import units

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# As nginx does it: no quote within a quoted field, so that the simplest parser is right.
_ESCAPES = {code: f"\\x{code:02X}" for code in range(256) if not 32 <= code < 127 or code in b'"\\'}


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One try of a request on one server.

    Attributes:
        server: its name.
        outcome: "ok", or what went wrong.
        seconds: how long it took.
        reused: whether it went over a kept connection.
    """

    server: str
    outcome: str
    seconds: float
    reused: bool


class AccessRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request, told when it is over. Bytes are as the client sent them.

    Attributes:
        time: when its first byte came, seconds since the epoch.
        client: IP address without port, or "unix:".
        method: empty when no request line could be read, as the next two.
        target: the request target.
        version: "1.1" or "1.0".
        status: of the answer; 0 when none was sent.
        bytes_sent: body bytes sent to the client.
        bytes_received: body bytes received from the client.
        duration_s: from the first byte of the request to the last of the answer.
        request_id: `X-Request-ID`; empty when there is none.
        referer: None without such a header.
        user_agent: None without such a header.
        server: name of the server that answered; None when the balancer did.
        attempts: every try, in order.
        ended: how it ended.
        reason: the same for people, if that was not ok.
    """

    time: float
    client: str
    method: bytes
    target: bytes
    version: bytes
    status: int
    bytes_sent: int
    bytes_received: int
    duration_s: float
    request_id: bytes
    referer: bytes | None
    user_agent: bytes | None
    server: str | None
    attempts: tuple[Attempt, ...]
    ended: End
    reason: str | None


def combined_line(record: AccessRecord) -> bytes:
    r"""The record in the combined format of Apache and nginx.

    Quotes, backslashes, control characters and all that is not ASCII become `\xHH`, as in nginx.
    """
    request = "-"
    if record.method:
        method, target, version = map(_escaped, (record.method, record.target, record.version))
        request = f"{method} {target} HTTP/{version}"
    line = (
        f"{_escaped(record.client.encode())} - - [{_common_log_time(int(record.time))}] "
        f'"{request}" {record.status:03} {record.bytes_sent} '
        f'"{_escaped_field(record.referer)}" "{_escaped_field(record.user_agent)}"\n'
    )
    return line.encode("ascii")


def json_line(record: AccessRecord) -> bytes:
    """The record as one JSON object; docs/reports.md lists its keys.

    Bytes that aren't UTF-8 are shown as backslash escapes; non-ASCII is escaped by JSON.
    """
    values = {
        "time": units.timestamp(datetime.fromtimestamp(record.time, UTC), "milliseconds"),
        "client": record.client,
        "method": _text(record.method),
        "target": _text(record.target),
        "version": _text(record.version),
        "status": record.status,
        "bytes_sent": record.bytes_sent,
        "bytes_received": record.bytes_received,
        "duration_s": round(record.duration_s, 6),
        "request_id": _text(record.request_id),
        "referer": None if record.referer is None else _text(record.referer),
        "user_agent": None if record.user_agent is None else _text(record.user_agent),
        "server": record.server,
        "attempts": [
            {
                "server": attempt.server,
                "outcome": attempt.outcome,
                "duration_s": round(attempt.seconds, 6),
                "reused": attempt.reused,
            }
            for attempt in record.attempts
        ],
        "ended": record.ended,
        "reason": record.reason,
    }
    return json.dumps(values, separators=(",", ":")).encode("ascii") + b"\n"


@lru_cache(maxsize=2)
def _common_log_time(second: int) -> str:
    at = time.gmtime(second)
    return (
        f"{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:"
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} +0000"
    )


def _escaped(value: bytes) -> str:
    return value.decode("latin-1").translate(_ESCAPES)


def _escaped_field(value: bytes | None) -> str:
    return _escaped(value) if value else "-"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
