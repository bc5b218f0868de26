"""The report as aligned plain text: the table of servers, that of workers, and the summary."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

from trio_lb.observe import units
from trio_lb.observe.catalogue import described
from trio_lb.observe.statistics import ServerRates, ServerStatistics, WorkerStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from trio_lb.observe.catalogue import Statistic
    from trio_lb.observe.statistics import Rates, Statistics


class Column(NamedTuple):
    """One column: its heading, and its cell for the snapshots that its row is about."""

    heading: str
    cell: Callable[..., str]
    is_figure: bool = True


def whole_address(server: ServerStatistics, _rates: ServerRates | None = None) -> str:
    """The address of a server, and its name if it has one."""
    named = server.name != server.address
    return printable(f"{server.address} ({server.name})" if named else server.address)


def _columns(names: str, *rows: type) -> Iterator[Column]:
    """The columns of the statistics of these names, from whichever of a row's snapshots has it."""
    for name in names.split():
        place = next(place for place, row in enumerate(rows) if name in described(row))
        one = described(rows[place])[name]
        yield Column(one.heading, _cell(name, one, place), one.kind != "label" or name in _NUMBERS)


def _cell(name: str, one: Statistic, place: int) -> Callable[..., str]:
    if name == "address":
        return whole_address
    return lambda *row: one.show(getattr(row[place], name))


#: Labels that are numbers, which stand on the right.
_NUMBERS = ("number", "pid")

# The article's five first, in its order; a narrow terminal drops columns from the right.
COLUMNS = tuple(
    _columns(
        "address state response_time_s active served weight max_connections failed requests_per_s"
        " p50_s p99_s",
        ServerStatistics,
        ServerRates,
    )
)

# A narrow terminal drops these from the right, too.
WORKER_COLUMNS = tuple(
    _columns(
        "number state pid starts heartbeat_age_s connections requests active served"
        " connections_total",
        WorkerStatistics,
    )
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
    requests = f"{units.count(statistics.requests_total)}, {units.rate(rates.requests_per_s)}/s"
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
        [column.cell(server, per_second) for column in COLUMNS]
        for server, per_second in zip(statistics.servers, rates.servers, strict=True)
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


def _table(rows: list[list[str]], columns: Sequence[Column]) -> list[str]:
    widths = [max(map(cell_len, cells)) for cells in zip(*rows, strict=True)]
    return ["  ".join(map(_aligned, row, widths, columns)).rstrip() for row in rows]


def _aligned(cell: str, width: int, column: Column) -> str:
    padding = " " * (width - cell_len(cell))
    return padding + cell if column.is_figure else cell + padding
