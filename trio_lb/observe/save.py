"""`--save FILE`: every round of the report appended to a file."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio

from trio_lb.observe import units
from trio_lb.observe.catalogue import described
from trio_lb.observe.log_file import AppendFailed, Condition, LogFile
from trio_lb.observe.statistics import Rates, Statistics
from trio_lb.observe.text import text_report

if TYPE_CHECKING:
    from collections.abc import Callable


_logger = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds that a round may take to be written before it counts as failed."""


async def save_reports(snapshot: Callable[[], Statistics], interval: float, path: str) -> None:
    """Append a report to a file now and after every interval, until cancelled.

    Nothing that happens to the file ends this task or holds up another: the file is opened anew for
    every round, written in a worker thread, and trouble is logged once when it begins and once when
    it is over.

    Args:
        snapshot: gives the statistics of the moment.
        interval: seconds between two rounds.
        path: JSON lines when it ends in ".jsonl", else text.
    """
    render = json_report if path.endswith(".jsonl") else text_report
    file = LogFile(path)
    condition = Condition(_logger, f"report to {path}")
    limiter = trio.CapacityLimiter(1)  # a stuck write is waited for, never joined by another
    previous: Statistics | None = None

    def write(statistics: Statistics, rates: Rates) -> None:
        try:
            file.append(render(datetime.now(UTC), statistics, rates).encode())
        finally:
            file.close()

    while True:
        next_round = trio.current_time() + interval
        current = snapshot()
        rates = Rates.between(previous, current)
        previous = current
        try:
            with trio.fail_after(_PATIENCE):
                await trio.to_thread.run_sync(
                    write, current, rates, abandon_on_cancel=True, limiter=limiter
                )
        except AppendFailed as error:
            condition.failed(error)
        except trio.TooSlowError:
            condition.failed("it takes too long")
        else:
            condition.worked()
        await trio.sleep_until(next_round)


def json_report(time: datetime, statistics: Statistics, rates: Rates) -> str:
    """One round as a line of JSON; docs/reports.md lists its keys."""
    values = asdict(statistics)
    values["started_at"] = units.timestamp(statistics.started_at, "milliseconds")
    for server, per_second in zip(values["servers"], rates.servers, strict=True):
        server |= asdict(per_second)
    line = {
        "time": units.timestamp(time, "milliseconds"),
        **{name: getattr(statistics, name) for name in described(Statistics) if name not in values},
        "requests_per_s": rates.requests_per_s,
        **values,
    }
    return json.dumps(line, separators=(",", ":")) + "\n"
