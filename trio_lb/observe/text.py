"""The report as aligned plain text: the article's table, a little wider, and its summary."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

from trio_lb.observe import units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from trio_lb.observe.statistics import Rates, ServerStatistics, Statistics, WorkerStatistics


class Column(NamedTuple):
    """One column: its heading, and its cell for a server and that server's requests per second."""

    heading: str
    cell: Callable[[ServerStatistics, float | None], str]
    is_figure: bool = True


def whole_address(server: ServerStatistics, _rate: float | None = None) -> str:
    """The address of a server, and its name if it has one."""
    named = server.name != server.address
    return printable(f"{server.address} ({server.name})" if named else server.address)


# The article's five first, in its order; a narrow terminal drops columns from the right.
COLUMNS = (
    Column("Address", whole_address, is_figure=False),
    Column("Status", lambda server, _: server.state.capitalize(), is_figure=False),
    Column("Response Time", lambda server, _: units.duration(server.response_time_s)),
    Column("Connections", lambda server, _: units.count(server.active)),
    Column("Connections Served", lambda server, _: units.count(server.served)),
    Column("Weight", lambda server, _: units.count(server.weight)),
    Column("Max", lambda server, _: units.limit(server.max_connections)),
    Column("Failures", lambda server, _: units.count(server.failed)),
    Column("Req/s", lambda _, rate: units.rate(rate)),
    Column("p50", lambda server, _: units.duration(server.p50_s)),
    Column("p99", lambda server, _: units.duration(server.p99_s)),
)


class WorkerColumn(NamedTuple):
    """One column about the workers: its heading, and its cell."""

    heading: str
    cell: Callable[[WorkerStatistics], str]
    is_figure: bool = True


# A narrow terminal drops these from the right, too.
WORKER_COLUMNS = (
    WorkerColumn("Worker", lambda worker: units.count(worker.number)),
    WorkerColumn("State", lambda worker: worker.state.capitalize(), is_figure=False),
    WorkerColumn("PID", lambda worker: units.NOTHING if worker.pid is None else str(worker.pid)),
    WorkerColumn("Starts", lambda worker: units.count(worker.starts)),
    WorkerColumn("Heartbeat", lambda worker: units.duration(worker.heartbeat_age_s)),
    WorkerColumn("Clients", lambda worker: units.count(worker.connections)),
    WorkerColumn("Requests", lambda worker: units.count(worker.requests)),
    WorkerColumn("Active", lambda worker: units.count(worker.active)),
    WorkerColumn("Served", lambda worker: units.count(worker.served)),
    WorkerColumn("Accepted", lambda worker: units.count(worker.connections_total)),
)


def printable(text: str) -> str:
    """The text without anything that could steer a terminal or break a line."""
    return "".join(char if char.isprintable() else "?" for char in text)


def summary(statistics: Statistics, rates: Rates) -> list[tuple[str, str]]:
    """The lines of "LB Summary": label and value."""
    classes = ", ".join(
        f"{name} {units.count(number)}"
        for name, number in sorted(statistics.responses_by_class.items())
        if number
    )
    requests = f"{units.count(statistics.requests_total)}, {units.rate(rates.total)}/s"
    open_now = units.count(statistics.client_connections)
    accepted = units.count(statistics.client_connections_total)
    lines = [
        ("Total connections", units.count(statistics.total_active)),
        ("Connections served", units.count(statistics.total_served)),
        ("Average response time", units.duration(statistics.average_response_time_s)),
        ("Alive servers", f"{statistics.alive_servers}/{len(statistics.servers)}"),
        ("Requests", f"{requests} ({classes})" if classes else requests),
        ("Client connections", f"{open_now} open, {accepted} in all"),
        ("Algorithm", statistics.algorithm),
        ("Uptime", units.elapsed(statistics.uptime_s)),
    ]
    if statistics.access_log_dropped:
        lines.append(("Access log dropped", units.count(statistics.access_log_dropped)))
    room = {
        "refused": statistics.client_connections_refused,
        "idle closed": statistics.client_connections_let_go,
        "pauses of accepting": statistics.accepting_pauses,
    }
    if any(room.values()):
        told = ", ".join(f"{units.count(number)} {what}" for what, number in room.items() if number)
        lines.append(("At capacity", told))
    return lines


def summary_lines(statistics: Statistics, rates: Rates) -> Iterator[str]:
    """The lines of the summary, their values aligned."""
    lines = summary(statistics, rates)
    width = max(len(label) for label, _ in lines)
    return (f"{label:<{width}}  {value}" for label, value in lines)


def worker_lines(statistics: Statistics, width: float = math.inf) -> list[str]:
    """The table of the workers, with its headings; nothing if there are none.

    Args:
        statistics: what is known of them.
        width: columns are left out until the lines are no longer than this, but for the first five.
    """
    if not statistics.workers:
        return []
    rows = [[column.heading for column in WORKER_COLUMNS]]
    rows += ([column.cell(worker) for column in WORKER_COLUMNS] for worker in statistics.workers)
    lines = _table(rows, WORKER_COLUMNS)
    while len(rows[0]) > 5 and max(map(len, lines)) > width:
        rows = [row[:-1] for row in rows]
        lines = _table(rows, WORKER_COLUMNS[: len(rows[0])])
    return lines


def text_report(time: datetime, statistics: Statistics, rates: Rates) -> str:
    """One round as plain text, free of escape codes: time (UTC), tables, summary, an empty line."""
    rows = [[column.heading for column in COLUMNS]]
    rows += (
        [column.cell(server, rate) for column in COLUMNS]
        for server, rate in zip(statistics.servers, rates.servers, strict=True)
    )
    return "\n".join(
        (
            f"[{units.timestamp(time)}]",
            *_table(rows, COLUMNS),
            *worker_lines(statistics),
            "LB Summary",
            *(f"  {line}" for line in summary_lines(statistics, rates)),
            "",
            "",
        )
    )


def _table(rows: list[list[str]], columns: Sequence[Column | WorkerColumn]) -> list[str]:
    widths = [max(map(cell_len, cells)) for cells in zip(*rows, strict=True)]
    return ["  ".join(map(_aligned, row, widths, columns)).rstrip() for row in rows]


def _aligned(cell: str, width: int, column: Column | WorkerColumn) -> str:
    padding = " " * (width - cell_len(cell))
    return padding + cell if column.is_figure else cell + padding
