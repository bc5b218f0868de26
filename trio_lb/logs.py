"""Logs of the program: one line per record on standard error."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class _OneLine(logging.Formatter):
    """Keeps a record's message on its line, whatever is in it; a traceback has its own lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        line = super().formatMessage(record)
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def configure(level: str, others: Iterable[tuple[str | None, str]] = ()) -> None:
    """Send all logs to standard error.

    Args:
        level: the least serious messages that are logged, such as "info".
        others: levels by logger name that go over it; None is the name for all.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, other in others:
        logging.getLogger(name).setLevel(other)
