"""Logs of the program: one line per record on standard error."""

from __future__ import annotations

import io
import logging
import select
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Characters written at a time: in UTF-8 at most the 4096 bytes that a pipe with room takes whole.
_PIECE = 1024


class _OneLine(logging.Formatter):
    """Keeps a record's message on its line, whatever is in it; a traceback has its own lines.

    Times are UTC in ISO 8601, as in reports and access logs: 2026-07-01T12:00:00.000Z.
    """

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        line = super().formatMessage(record)
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


class _NeverWaiting(logging.StreamHandler[TextIO]):
    """Drops what a pipe, a terminal or a journal does not take at once, and says how much that was.

    Tasks log in the middle of their work: to wait here would be to stop serving, for as long as
    nobody reads. (Processes that share a pipe may find its last room at the same moment; then one
    of them waits.)
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless the stream would block."""
        try:
            text = self.format(record) + self.terminator
            if self._lost:
                are = "line of this log was" if self._lost == 1 else "lines of this log were"
                text = f"\n({self._lost} {are} lost: nobody took them)\n{text}"
            for start in range(0, len(text), _PIECE):
                if not _has_room(self.stream):
                    self._lost += 1
                    return
                self.stream.write(text[start : start + _PIECE])
                self.flush()
            self._lost = 0
        except Exception:  # as logging itself does it: no log line is worth a failure
            self.handleError(record)


def _has_room(stream: TextIO) -> bool:
    """Whether a piece can be written without waiting."""
    try:
        descriptor = stream.fileno()
    except (io.UnsupportedOperation, AttributeError):  # in memory
        return True
    writable = select.poll()
    writable.register(descriptor, select.POLLOUT)
    return bool(writable.poll(0))


def configure(level: str, others: Iterable[tuple[str | None, str]] = ()) -> None:
    """Send all logs to standard error, and never wait for it.

    Args:
        level: the least serious messages that are logged, such as "info".
        others: levels by logger name, which override it; None is the name for all.
    """
    handler = _NeverWaiting(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, other in others:
        logging.getLogger(name).setLevel(other)
