"""`--report`: a table redrawn in place on a terminal, plain text per round elsewhere.

Drawing and writing happen in a worker thread: a paused terminal or a stuck pipe delays only the
report.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
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

from trio_lb.net.nurseries import open_bare_nursery
from trio_lb.observe import fit, units
from trio_lb.observe.log_file import write_some
from trio_lb.observe.statistics import Rates
from trio_lb.observe.text import COLUMNS, summary_lines, text_report, worker_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from rich.console import JustifyMethod

    from trio_lb.observe.captured import Captured
    from trio_lb.observe.statistics import ServerRates, ServerStatistics, Statistics

_logger = logging.getLogger(__name__)

_LAST_WORDS = 1.0
"""Seconds that restoring the terminal may take at the end."""

_GATHERING = 0.1
"""Seconds for which log lines gather before the table makes room for them."""

_FEWEST_COLUMNS = 5
"""The article's columns: kept however narrow the terminal is."""

_KEPT = 200
"""Lines above the table that a change of the terminal's size brings back."""

_STYLES = {"alive": "green", "full": "yellow", "draining": "cyan", "dead": "bold red"}


async def show_reports(
    snapshot: Callable[[], Statistics],
    interval: float,
    output: TextIO | None = None,
    *,
    live: bool | None = None,
    errors: Captured | None = None,
    above: str = "",
) -> None:
    """Show a report now and after every interval, until cancelled or until nobody can see it.

    When the output breaks (closed pipe, vanished terminal), that is logged once and the task ends.

    Args:
        snapshot: gives the statistics of the moment.
        interval: seconds between two rounds.
        output: where to; standard output when None. Closing it is the caller's business.
        live: redraw in place; None: when the output is a terminal that can.
        errors: what is written to the same terminal, to be shown above the table.
        above: what is on the terminal already, to be shown again when its size has changed.
    """
    stream = sys.stdout if output is None else output
    try:
        terminal = _Output(stream)
        if live is None:
            live = can_redraw(stream)
    except (AttributeError, OSError, ValueError):  # AttributeError: sys.stdout is None
        _logger.warning("no live report: its output is closed")
        return
    display = LiveDisplay(terminal.size, above) if live else TextDisplay()
    try:
        async with open_bare_nursery() as nursery:
            if isinstance(display, LiveDisplay):
                nursery.start_soon(_stop_when_told, display, terminal)
            try:
                await _show(snapshot, interval, display, terminal, errors)
            finally:
                nursery.cancel_scope.cancel()
    except OSError as error:
        _logger.warning("the live report stops: cannot write to its output: %s", error.strerror)


def can_redraw(stream: TextIO) -> bool:
    """Whether a table can be redrawn in place there."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Display(Protocol):
    """YieldBudget reports into what is to be written to the output."""

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

    Terminals differ in what they do with lines that a change of their size makes too long. So the
    screen is cleared then, and what was above the table is shown anew.

    Args:
        size: columns and lines of the terminal, asked before each drawing.
        above: what is there already.
    """

    def __init__(self, size: Callable[[], tuple[int, int]], above: str = "") -> None:
        self._size = size
        self._above = deque(above.splitlines(), maxlen=_KEPT)
        self._drawn = io.StringIO()
        self._fitted: tuple[int, int] | None = None
        self._last: tuple[Statistics, Rates] | None = None
        self._begin()

    def _begin(self) -> None:
        self._console = Console(file=self._drawn, force_terminal=True, highlight=False)
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )

    def draw(self, statistics: Statistics, rates: Rates) -> str:
        """The table in the place of the one before, fitted into the terminal."""
        self._last = statistics, rates
        self._fit()
        self._live.start()
        self._live.update(_report(self._console, statistics, rates), refresh=True)
        return self._take()

    def insert(self, lines: str) -> str:
        """The lines above the table, which moves down."""
        if lines:
            self._above.extend(lines.splitlines())
            if self._fit() and self._last is not None:
                return self.draw(*self._last)
            self._print(lines.removesuffix("\n"))
        return self._take()

    def close(self) -> str:
        """The last table stays, the cursor is back below it."""
        self._live.stop()
        return self._take()

    def erase(self) -> str:
        """Nothing stays of the table; the cursor is where it began."""
        self._live.transient = True
        self._live.stop()
        self._begin()
        return self._take()

    def draw_again(self) -> str:
        """The last table, where the cursor is now."""
        self._fitted = None
        return "" if self._last is None else self.draw(*self._last)

    def _fit(self) -> bool:
        """Begin anew if the size has changed; whether it has."""
        size = self._size()
        changed = self._fitted not in (None, size)
        if changed:
            self._begin()
        self._console.size = size
        self._fitted = size
        if changed:
            self._drawn.write("\x1b[H\x1b[2J")
            recent = list(self._above)[-size[1] :]
            if recent:
                self._print("\n".join(recent))
        return changed

    def _print(self, lines: str) -> None:
        self._console.print(Text.from_ansi(lines), soft_wrap=True)

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
    remark = [Text(f" and {units.several(hidden, 'more server')}", "dim")] if hidden else []
    table = _fitted_table(console, shown)
    heading = Text("LB Summary", "bold")
    return Group(
        table, *remark, *map(_line, workers), heading, *(_line(f"  {line}") for line in summary)
    )


def _fitted_table(
    console: Console, servers: Sequence[tuple[ServerStatistics, ServerRates]]
) -> Table:
    """As many columns as fit; addresses are shortened if necessary."""
    unbounded = console.options.update(max_width=10_000)

    def width(table: Table) -> int:
        return console.measure(table, options=unbounded).maximum

    columns = len(COLUMNS)
    whole = [COLUMNS[0].cell(*row) for row in servers]
    while columns > _FEWEST_COLUMNS and width(_table(servers, whole, columns)) > console.width:
        columns -= 1
    heading = len(COLUMNS[0].heading)
    others = width(_table(servers, [""] * len(servers), columns)) - heading
    room = max(heading, console.width - others)
    return _table(servers, fit.addresses([server for server, _ in servers], room), columns)


def _cut(workers: list[str], room: int) -> list[str]:
    """As many lines about workers as fit; the last one counts those omitted."""
    if len(workers) <= room:
        return workers
    if room < 2:
        return []
    shown = workers[: room - 1]
    return [*shown, f" and {units.several(len(workers) - len(shown), 'more worker')}"]


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def _table(
    servers: Sequence[tuple[ServerStatistics, ServerRates]], addresses: list[str], columns: int
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for column in COLUMNS[:columns]:
        heading = column.heading.replace(" ", "\n")
        justify: JustifyMethod = "right" if column.is_figure else "left"
        # What may wrap shrinks first: the address, which then is cut instead, to stay one line.
        table.add_column(heading, justify=justify, no_wrap=column is not COLUMNS[0])
    for (server, rates), address in zip(servers, addresses, strict=True):
        style = _STYLES[server.state]
        state, *figures = [column.cell(server, rates) for column in COLUMNS[1:columns]]
        # The colour marks the state; the figures of a server that works stay plain.
        row_style = "" if server.state == "alive" else style
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
        self._lock = trio.Lock()

    def size(self) -> tuple[int, int]:
        """Columns and lines; 80 x 25 where a terminal does not know."""
        columns, lines = os.get_terminal_size(self._descriptor)
        return columns or 80, lines or 25

    async def write(self, draw: Callable[[], str], *, close: bool = False) -> None:
        """Write what is drawn, both in a thread.

        Raises:
            OSError: the output is broken.
        """
        async with self._lock:
            await self.write_alone(draw, close=close)

    def alone(self) -> AbstractAsyncContextManager[object]:
        """Nobody else writes within this block, which does so by `write_alone`."""
        return self._lock

    async def write_alone(self, draw: Callable[[], str], *, close: bool = False) -> None:
        """Write, as `write` does, within `alone`."""
        await trio.to_thread.run_sync(
            self._write, draw, close, abandon_on_cancel=True, limiter=self._limiter
        )

    def _write(self, draw: Callable[[], str], close: bool) -> None:
        try:
            rest = fit.encoded(draw(), self._encoding)
            while rest:
                rest = rest[write_some(self._descriptor, rest) :]
        finally:
            if close:
                os.close(self._descriptor)


async def _show(
    snapshot: Callable[[], Statistics],
    interval: float,
    display: Display,
    output: _Output,
    errors: Captured | None,
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
                    if errors is None:
                        await trio.sleep_until(next_round)
                    else:
                        await errors.arrival()
                        await trio.sleep(_GATHERING)
                if errors is not None and (lines := errors.take()):
                    await output.write(partial(display.insert, lines))
    finally:
        lines = "" if errors is None else errors.take()
        with trio.move_on_after(_LAST_WORDS, shield=True):
            await output.write(lambda: display.insert(lines) + display.close(), close=True)


async def _stop_when_told(display: LiveDisplay, output: _Output) -> None:
    """Ctrl-Z: leave the terminal to the shell without the table, and be back below it."""
    if signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN:
        return
    with trio.open_signal_receiver(signal.SIGTSTP) as signals:
        async for _ in signals:
            async with output.alone():
                with contextlib.suppress(OSError):  # the next round tells of it
                    await output.write_alone(display.erase)
                os.kill(os.getpid(), signal.SIGSTOP)
                with contextlib.suppress(OSError):
                    await output.write_alone(display.draw_again)
