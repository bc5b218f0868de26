"""`--report`: a table redrawn in place on a terminal, plain text per round elsewhere.

Drawing and writing happen in a worker thread: a paused terminal or a stuck pipe holds up the report
and nothing else.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections import deque
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol, TextIO

import trio
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trio_lb.report.log_file import write_some
from trio_lb.report.statistics import Rates
from trio_lb.report.text import COLUMNS, summary_lines, text_report, worker_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import JustifyMethod

    from trio_lb.report.statistics import ServerStatistics, Statistics

_logger = logging.getLogger(__name__)

_LAST_WORDS = 1.0
"""Seconds that restoring the terminal may take at the end."""

_GATHERING = 0.1
"""Seconds for which log lines gather before the table makes room for them."""

_FEWEST_COLUMNS = 5
"""The article's columns: kept however narrow the terminal is."""

_STYLES = {"alive": "green", "full": "yellow", "draining": "cyan", "dead": "bold red"}


async def show_reports(
    snapshot: Callable[[], Statistics],
    interval: float,
    output: TextIO | None = None,
    *,
    live: bool | None = None,
) -> None:
    """Show a report now and after every interval, until cancelled or until nobody can see it.

    While a table is live, `logging`'s lines for the terminal appear above it. When the output
    breaks (closed pipe, vanished terminal), that is logged once and the task ends.

    Args:
        snapshot: gives the statistics of the moment.
        interval: seconds between two rounds.
        output: where to; standard output when None. Closing it is the caller's business.
        live: redraw in place; None: when the output is a terminal that can.
    """
    stream = sys.stdout if output is None else output
    try:
        terminal = _Output(stream)
        if live is None:
            live = stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, OSError, ValueError):  # AttributeError: sys.stdout is None
        _logger.warning("no report is shown: its output is closed")
        return
    display = LiveDisplay(terminal.size) if live else TextDisplay()
    try:
        with _log_lines(captured=live) as log_lines:
            await _show(snapshot, interval, display, terminal, log_lines)
    except OSError as error:
        _logger.warning("the report ends, its output is broken: %s", error.strerror)


class Display(Protocol):
    """Turns reports into what is to be written to the output."""

    def draw(self, statistics: Statistics, rates: Rates) -> str:
        """Show a new round."""

    def insert(self, lines: str) -> str:
        """Show log lines."""

    def close(self) -> str:
        """Leave the terminal as it was found."""


class TextDisplay:
    """One block of plain text per round."""

    def draw(self, statistics: Statistics, rates: Rates) -> str:
        """The round as text."""
        return text_report(datetime.now(UTC), statistics, rates)

    def insert(self, lines: str) -> str:
        """The lines as they are."""
        return lines

    def close(self) -> str:
        """Nothing: a pipe needs no restoring."""
        return ""


class LiveDisplay:
    """A table that is redrawn in place, log lines scrolling by above it.

    Rich draws into memory: its own writing would end the process at a broken pipe.

    Args:
        size: columns and lines of the terminal, asked before each drawing.
    """

    def __init__(self, size: Callable[[], tuple[int, int]]) -> None:
        self._size = size
        self._drawn = io.StringIO()
        self._console = Console(file=self._drawn, force_terminal=True, highlight=False)
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )

    def draw(self, statistics: Statistics, rates: Rates) -> str:
        """The table in the place of the one before, fitted into the terminal."""
        self._console.size = self._size()
        self._live.start()
        self._live.update(_report(self._console, statistics, rates), refresh=True)
        return self._take()

    def insert(self, lines: str) -> str:
        """The lines above the table, which moves down."""
        if lines:
            self._console.print(Text.from_ansi(lines.removesuffix("\n")), soft_wrap=True)
        return self._take()

    def close(self) -> str:
        """The last table stays, the cursor is back below it."""
        self._live.stop()
        return self._take()

    def _take(self) -> str:
        drawn = self._drawn.getvalue()
        self._drawn.seek(0)
        self._drawn.truncate()
        return drawn


def _report(console: Console, statistics: Statistics, rates: Rates) -> Group:
    """Tables and summary, no larger than the console if that is possible at all."""
    summary = list(summary_lines(statistics, rates))
    around = len(summary) + 5  # a heading of two lines, a rule, two more headings or remarks
    servers = list(zip(statistics.servers, rates.servers, strict=True))
    room = max(1, console.height - around)
    workers = worker_lines(statistics, console.width)
    if workers:  # as many lines as the servers leave, but half of all if need be
        workers = _cut(workers, max(room - len(servers), room // 2))
        room = max(1, room - len(workers))
    hidden = max(0, len(servers) - room)
    if hidden:  # those with troubles first
        servers.sort(key=lambda row: row[0].state == "alive")
    shown = servers[:room]
    columns = len(COLUMNS)
    table = _table(shown, columns)
    unbounded = console.options.update(max_width=10_000)
    while columns > _FEWEST_COLUMNS and (
        console.measure(table, options=unbounded).maximum > console.width
    ):
        columns -= 1
        table = _table(shown, columns)
    remark = [Text(f" and {hidden:,} more servers", "dim")] if hidden else []
    heading = Text("LB Summary", "bold")
    return Group(
        table, *remark, *map(_line, workers), heading, *(_line(f"  {line}") for line in summary)
    )


def _cut(workers: list[str], room: int) -> list[str]:
    """As many lines about workers as there is room for, the last one about those left out."""
    if len(workers) <= room:
        return workers
    if room < 2:
        return []
    shown = workers[: room - 1]
    return [*shown, f" and {len(workers) - len(shown):,} more workers"]


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def _table(servers: Sequence[tuple[ServerStatistics, float | None]], columns: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for column in COLUMNS[:columns]:
        heading = column.heading.replace(" ", "\n")
        justify: JustifyMethod = "right" if column.is_figure else "left"
        # What may wrap shrinks first: the address, which then is cut instead, to stay one line.
        table.add_column(heading, justify=justify, no_wrap=column is not COLUMNS[0])
    for server, rate in servers:
        style = _STYLES[server.state]
        cells = [column.cell(server, rate) for column in COLUMNS[:columns]]
        # The colour marks the state; the figures of a server that works stay plain.
        row_style = "" if server.state == "alive" else style
        address, state, *figures = cells
        whole = Text(address, no_wrap=True, overflow="ellipsis")
        table.add_row(whole, Text(state, style), *map(Text, figures), style=row_style)
    return table


class _Output:
    """A descriptor that is written to in a worker thread.

    It is a duplicate: the number of one that others close might come to belong to a client.
    """

    def __init__(self, stream: TextIO) -> None:
        stream.flush()
        self._encoding = stream.encoding
        self._descriptor = os.dup(stream.fileno())
        self._limiter = trio.CapacityLimiter(1)

    def size(self) -> tuple[int, int]:
        """Columns and lines; 80 x 25 where a terminal does not know."""
        columns, lines = os.get_terminal_size(self._descriptor)
        return columns or 80, lines or 25

    async def write(self, draw: Callable[[], str], *, close: bool = False) -> None:
        """Write what is drawn, both in a thread.

        Raises:
            OSError: the output is broken.
        """
        await trio.to_thread.run_sync(
            self._write, draw, close, abandon_on_cancel=True, limiter=self._limiter
        )

    def _write(self, draw: Callable[[], str], close: bool) -> None:
        try:
            rest = draw().encode(self._encoding, "replace")
            while rest:
                rest = rest[write_some(self._descriptor, rest) :]
        finally:
            if close:
                os.close(self._descriptor)


class _LogLines:
    """A stream for handlers of `logging`: keeps lines, of any thread, until they are shown."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=1000)
        self._arrived = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def write(self, text: str) -> None:
        self._lines.append(text)
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._notice, idempotent=True)

    def flush(self) -> None:
        """Nothing: `take` is what empties it."""

    def _notice(self) -> None:
        self._arrived.set()

    async def arrival(self) -> None:
        await self._arrived.wait()
        self._arrived = trio.Event()

    def take(self) -> str:
        return "".join(self._lines.popleft() for _ in range(len(self._lines)))


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


@contextlib.contextmanager
def _log_lines(*, captured: bool) -> Iterator[_LogLines]:
    """Turn what `logging` writes to the terminal to a stream of ours, if `captured`."""
    lines = _LogLines()
    handlers = [
        handler
        for logger in (logging.getLogger(), logging.getLogger("trio_lb"))
        for handler in logger.handlers
        if captured and isinstance(handler, logging.StreamHandler) and _is_terminal(handler.stream)
    ]
    streams = [handler.setStream(lines) for handler in handlers]
    try:
        yield lines
    finally:
        for handler, stream in zip(handlers, streams, strict=True):
            handler.setStream(stream)


async def _show(
    snapshot: Callable[[], Statistics],
    interval: float,
    display: Display,
    output: _Output,
    log_lines: _LogLines,
) -> None:
    previous: Statistics | None = None
    try:
        while True:
            next_round = trio.current_time() + interval
            current = snapshot()
            await output.write(partial(display.draw, current, Rates.between(previous, current)))
            previous = current
            while trio.current_time() < next_round:
                with trio.move_on_at(next_round):
                    await log_lines.arrival()
                    await trio.sleep(_GATHERING)
                if lines := log_lines.take():
                    await output.write(partial(display.insert, lines))
    finally:
        with trio.move_on_after(_LAST_WORDS, shield=True):
            await output.write(
                lambda: display.insert(log_lines.take()) + display.close(), close=True
            )
