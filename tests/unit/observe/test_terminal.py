"""The live table and the text per round, on real terminals and pipes.

`mock_clock` stands still but for its `jump`: a worker thread never comes too late by chance.
"""

from __future__ import annotations

import logging
import os
import pty
import re
import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TextIO

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.support.effort import effort
from tests.support.sample_statistics import server_statistics, statistics, worker_statistics
from tests.support.screen import Screen
from tests.support.waiting import eventually, until_next_deadline_in
from trio_lb.observe import units
from trio_lb.observe.captured import captured
from trio_lb.observe.statistics import Rates, ServerRates, ServerStatistics
from trio_lb.observe.terminal import LiveDisplay, show_reports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock

    from trio_lb.observe.statistics import Statistics

ESCAPE_CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
UP, HIDE_CURSOR, SHOW_CURSOR = "\x1b[1A", "\x1b[?25l", "\x1b[?25h"


def snapshot() -> Statistics:
    """One server that has served four requests a second."""
    seconds = trio.current_time()
    served = int(4 * seconds)
    return statistics(server_statistics(served=served), uptime_s=seconds, requests_total=served)


# What is drawn


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> LiveDisplay:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return LiveDisplay(lambda: (130, 40))


def drawn(display: LiveDisplay, *servers: ServerStatistics) -> str:
    return display.draw(statistics(*servers), Rates(None, (ServerRates(None),) * len(servers)))


def plain(text: str) -> list[str]:
    return ESCAPE_CODE.sub("", text).replace("\r", "").split("\n")


def test_the_table_is_redrawn_in_place(display: LiveDisplay) -> None:
    first = drawn(display, server_statistics(served=1234))
    assert HIDE_CURSOR in first
    assert UP not in first
    assert "1,234" in first
    second = drawn(display, server_statistics(served=5678))
    assert second.count(UP) == first.count("\n")
    assert "5,678" in second
    last = display.close()
    assert "5,678" in last
    assert last.endswith(f"\n{SHOW_CURSOR}")


def test_closing_what_was_never_drawn_changes_nothing(display: LiveDisplay) -> None:
    assert display.close() == ""


@pytest.mark.parametrize(
    ("state", "colour"), [("alive", "32"), ("full", "33"), ("draining", "36"), ("dead", "1;31")]
)
def test_each_state_has_its_colour(display: LiveDisplay, state: str, colour: str) -> None:
    assert f"\x1b[{colour}m{state.capitalize()}" in drawn(display, server_statistics(state=state))


def test_names_are_not_markup(display: LiveDisplay) -> None:
    report = drawn(display, server_statistics(name="[red]a\x1b[2J"))
    assert "([red]a?[2J)" in report


def test_log_lines_go_above_the_table(display: LiveDisplay) -> None:
    table = drawn(display, server_statistics())
    inserted = display.insert("one [b]line[/b]\n\x1b[31mtwo\x1b[0m " + "long " * 40 + "\n")
    assert inserted.count(UP) == table.count("\n")
    one, two, *rest = plain(inserted)
    assert (one, two[:8]) == ("one [b]line[/b]", "two long")
    assert "\x1b[31mtwo" in inserted
    assert rest == plain(table)
    assert display.insert("") == ""


def test_a_change_of_size_leaves_nothing_behind_and_loses_no_line() -> None:
    size = [130, 40]
    screen = Screen(*size)
    display = LiveDisplay(lambda: (size[0], size[1]), "said before\n")
    screen.feed("said before\r\n")
    servers = [server_statistics(name=f"app{number}") for number in range(8)]
    lines = ["said before"]
    for columns, height in [(130, 40), (60, 40), (60, 26), (200, 50), (90, 30)]:
        screen.resize(columns, height)
        size[:] = columns, height
        lines.append(f"a line at {columns} by {height}")
        screen.feed(terminal_of(display.insert(lines[-1] + "\n")))
        screen.feed(terminal_of(drawn(display, *servers)))
        seen = screen.text.split("\n")
        assert sum(line.startswith("LB Summary") for line in seen) == 1
        assert sum("Address" in line for line in seen) == 1
        above = seen[: next(i for i, line in enumerate(seen) if line.startswith("LB")) - 11]
        assert [line for line in above if line.startswith(("a line", "said"))] == lines[
            -len([line for line in above if line.startswith(("a line", "said"))]) :
        ]
        assert above[-1] == lines[-1]
    screen.feed(terminal_of(display.close()))
    assert screen.cursor_shown


def terminal_of(text: str) -> str:
    """What a terminal makes of newlines."""
    return text.replace("\n", "\r\n")


def test_nothing_stays_of_a_table_that_is_erased(display: LiveDisplay) -> None:
    screen = Screen(130, 40)
    screen.feed("$ trio-lb start -r\r\n")
    screen.feed(terminal_of(drawn(display, server_statistics())))
    assert "LB Summary" in screen.text
    screen.feed(terminal_of(display.erase()))
    assert screen.text == "$ trio-lb start -r"
    assert screen.cursor_shown
    screen.feed("[1]+  Stopped\r\n$ fg\r\n")
    screen.feed(terminal_of(display.draw_again()))
    assert screen.text.startswith("$ trio-lb start -r\n[1]+  Stopped\n$ fg\n")
    assert screen.text.count("LB Summary") == 1
    screen.feed(terminal_of(drawn(display, server_statistics(served=5678))))
    assert screen.text.count("LB Summary") == 1
    assert "5,678" in screen.text


def test_servers_can_be_told_apart_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    addresses = [f"http://10.0.30.{number}:8080" for number in (1, 12, 123)]
    shown = _cells(60, *(server_statistics(name=each, address=each) for each in addresses))
    assert shown == ["10.0.30.1:8080", "10.0.30.12:8080", "10.0.30.123:8080"]
    names = ["orders-service-in-zone-a", "orders-service-in-zone-b", "c"]
    shown = _cells(60, *(server_statistics(name=each) for each in names))
    assert len(set(shown)) == 3
    assert [each[-3:] for each in shown] == ["e-a", "e-b", "c"]
    assert "…" in shown[0]
    assert shown[0].startswith("orde")


def _cells(width: int, *servers: ServerStatistics) -> list[str]:
    """The first column, at a width."""
    display = LiveDisplay(lambda: (width, 40))
    lines = plain(drawn(display, *servers))
    assert max(map(cell_len, lines)) <= width
    return [line.split(" ")[0] for line in lines if re.search(r"^\S+ +Alive ", line)]


def test_one_server_is_one_server() -> None:
    display = LiveDisplay(lambda: (80, 15))
    text = "".join(plain(drawn(display, *(server_statistics() for _ in range(3)))))
    assert re.search(r" and \d+ more servers?", text)
    assert units.several(1, "server") == "1 server"
    assert units.several(0, "server") == "0 servers"
    assert units.several(1234, "server") == "1,234 servers"


async def test_what_an_encoding_lacks_breaks_no_report(
    pipe: tuple[int, TextIO], mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    output = Output(pipe[0])
    with os.fdopen(os.dup(pipe[1].fileno()), "w", encoding="ascii") as stream:
        servers = statistics(server_statistics(name="größe", response_time_s=0.00085))
        nursery.start_soon(show_reports, lambda: servers, 10, stream)
        await eventually(lambda: "Uptime" in output.text)
    assert "gr\\xf6\\xdfe" in output.text
    assert "850 us" in output.text


@effort(50)
@given(
    st.integers(50, 200),
    st.integers(16, 60),
    st.integers(0, 60),
    st.integers(0, 60),
    st.booleans(),
)
def test_a_report_fits_into_the_terminal(
    columns: int, lines: int, servers: int, workers: int, named: bool
) -> None:
    name = {"name": "web"} if named else {}
    whole = statistics(
        *(server_statistics(served=10**9, **name) for _ in range(servers)),
        workers=tuple(worker_statistics(number=number) for number in range(workers)),
    )
    display = LiveDisplay(lambda: (columns, lines))
    report = plain(display.draw(whole, Rates(None, (ServerRates(None),) * servers)))
    assert all(cell_len(line) <= columns for line in report)
    assert len(report) <= lines
    assert report[-1].startswith("  Uptime")
    assert columns < 75 or "…" not in "".join(report)
    if columns >= 75:  # wide enough for the article's columns
        shown = sum("127.0.0.1" in line for line in report)
        hidden = [line for line in report if re.search("more servers?$", line)]
        count = units.several(servers - shown, "more server")
        assert hidden == ([f" and {count}"] if shown < servers else [])
        shown = sum("Serving" in line for line in report)
        hidden = [line for line in report if re.search("more workers?$", line)]
        if shown or hidden:
            count = units.several(workers - shown, "more worker")
            assert hidden == ([f" and {count}"] if shown < workers else [])
        else:
            assert workers == 0 or lines < 20  # too few for any


def test_servers_in_trouble_are_shown_first_when_not_all_fit() -> None:
    servers = [server_statistics(name=f"web{number}") for number in range(50)]
    servers[49] = server_statistics(name="web49", state="dead")
    report = drawn(LiveDisplay(lambda: (130, 20)), *servers)
    names = re.findall(r"web\d+", report)
    assert names[:2] == ["web49", "web0"]
    assert f"and {50 - len(names)} more servers" in report


# Where it goes


class Output:
    """What arrives at the other end of a pipe or terminal."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._text = ""

    @property
    def text(self) -> str:
        with suppress(BlockingIOError):
            while data := os.read(self._descriptor, 65536):
                self._text += data.decode()
        return self._text


@contextmanager
def opened(reading: int, writing: int) -> Iterator[tuple[int, TextIO]]:
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        yield reading, stream
    os.close(reading)


def hang_up(reading: int) -> None:
    """Close this end; its number stays taken, since it is closed once more when the test ends."""
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), reading)


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    with opened(*os.pipe()) as ends:
        yield ends


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, TextIO]]:
    monkeypatch.setenv("TERM", "xterm-256color")
    with opened(*pty.openpty()) as ends:
        yield ends


async def test_a_pipe_gets_a_block_of_text_per_round(
    pipe: tuple[int, TextIO], mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    output = Output(pipe[0])
    nursery.start_soon(show_reports, snapshot, 10, pipe[1])
    await eventually(lambda: output.text.endswith("Uptime                 00:00:00\n\n"))
    await until_next_deadline_in(10)
    mock_clock.jump(10)
    await eventually(lambda: output.text.endswith("Uptime                 00:00:10\n\n"))
    assert "Requests               40, 4.00/s" in output.text
    assert output.text.count("[20") == 2
    assert "\x1b" not in output.text


async def test_a_dumb_terminal_gets_text(
    mock_clock: MockClock,
    terminal: tuple[int, TextIO],
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    output = Output(terminal[0])
    nursery.start_soon(show_reports, snapshot, 10, terminal[1])
    await eventually(lambda: "Uptime" in output.text)
    assert "\x1b" not in output.text


async def test_a_terminal_gets_text_if_told_so(
    mock_clock: MockClock, terminal: tuple[int, TextIO], nursery: trio.Nursery
) -> None:
    output = Output(terminal[0])
    nursery.start_soon(partial(show_reports, snapshot, 10, terminal[1], live=False))
    await eventually(lambda: "Uptime" in output.text)
    assert "\x1b" not in output.text


async def test_a_closed_pipe_ends_the_report_with_one_log_line(
    mock_clock: MockClock, pipe: tuple[int, TextIO], caplog: pytest.LogCaptureFixture
) -> None:
    hang_up(pipe[0])
    await show_reports(snapshot, 10, pipe[1])
    assert caplog.messages == ["the live report stops: cannot write to its output: Broken pipe"]


@pytest.mark.parametrize("how", ["closed", "missing"])
async def test_no_report_without_an_output(
    mock_clock: MockClock,
    pipe: tuple[int, TextIO],
    how: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe[1].close()
    monkeypatch.setattr(sys, "stdout", pipe[1] if how == "closed" else None)
    await show_reports(snapshot, 10)
    assert caplog.messages == ["no live report: its output is closed"]


async def test_a_stuck_pipe_holds_up_nothing(
    pipe: tuple[int, TextIO], mock_clock: MockClock
) -> None:
    _, stream = pipe
    os.set_blocking(stream.fileno(), False)
    with suppress(BlockingIOError):
        while True:
            os.write(stream.fileno(), bytes(4096))
    os.set_blocking(stream.fileno(), True)
    ended = trio.Event()

    async def report(scope: trio.CancelScope) -> None:
        with scope:
            await show_reports(snapshot, 10, stream)
        ended.set()

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(report, scope)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await until_next_deadline_in(1)
        assert not ended.is_set()
        mock_clock.jump(1)
        await ended.wait()


async def test_a_terminal_gets_its_cursor_back_when_the_report_is_cancelled(
    terminal: tuple[int, TextIO], mock_clock: MockClock
) -> None:
    output = Output(terminal[0])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(show_reports, snapshot, 10, terminal[1])
        await eventually(lambda: "00:00:00" in output.text)
        await until_next_deadline_in(10)
        mock_clock.jump(10)
        await eventually(lambda: "00:00:10" in output.text)
        assert output.text.startswith(HIDE_CURSOR)
        assert UP in output.text
        assert SHOW_CURSOR not in output.text
        nursery.cancel_scope.cancel()
    await eventually(lambda: output.text.endswith(SHOW_CURSOR))


async def test_a_vanished_terminal_ends_the_report_with_one_log_line(
    terminal: tuple[int, TextIO],
    mock_clock: MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    output = Output(terminal[0])
    nursery.start_soon(show_reports, snapshot, 10, terminal[1])
    await eventually(lambda: "00:00:00" in output.text)
    await until_next_deadline_in(10)
    hang_up(terminal[0])
    mock_clock.jump(10)
    await eventually(lambda: caplog.messages)
    assert caplog.messages == [
        "the live report stops: cannot write to its output: Input/output error"
    ]
    await eventually(lambda: not nursery.child_tasks)


@pytest.fixture
def logger(terminal: tuple[int, TextIO]) -> Iterator[tuple[logging.Logger, int]]:
    """A logger that writes to the terminal, and its descriptor."""
    with os.fdopen(os.dup(terminal[1].fileno()), "w") as stream:
        handler = logging.StreamHandler(stream)
        logger = logging.getLogger("trio_lb")
        logger.addHandler(handler)
        yield logger, stream.fileno()
        logger.removeHandler(handler)


async def test_lines_of_any_thread_and_process_appear_above_the_live_table(
    terminal: tuple[int, TextIO], mock_clock: MockClock, logger: tuple[logging.Logger, int]
) -> None:
    output = Output(terminal[0])
    log, descriptor = logger
    with captured(descriptor) as errors:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(show_reports, snapshot, 10, terminal[1], errors=errors))
            await eventually(lambda: "00:00:00" in output.text)
            await until_next_deadline_in(10)
            log.warning("from the thread of Trio")
            other = threading.Thread(target=log.warning, args=("from another thread",))
            other.start()
            other.join()
            await trio.run_process(["echo", "from a process"], stdout=descriptor)
            await until_next_deadline_in(0.1)
            mock_clock.jump(0.1)
            await eventually(lambda: output.text.count("00:00:00") == 2)
            lines = plain(output.text[output.text.index(UP) :])
            assert lines[:3] == [
                "from the thread of Trio",
                "from another thread",
                "from a process",
            ]
            log.warning("at the very end")
            nursery.cancel_scope.cancel()
        await eventually(lambda: output.text.endswith(SHOW_CURSOR))
        assert "at the very end" in output.text
        log.warning("when it has ended")
    log.warning("afterwards")
    last = f"{SHOW_CURSOR}when it has ended\r\nafterwards\r\n"
    await eventually(lambda: output.text.endswith(last))


async def test_without_a_table_what_was_captured_goes_straight_on(
    terminal: tuple[int, TextIO], logger: tuple[logging.Logger, int]
) -> None:
    output = Output(terminal[0])
    with captured(logger[1]) as errors:
        assert errors is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(errors.pass_on)
            logger[0].warning("one")
            await eventually(lambda: output.text == "one\r\n")
            nursery.cancel_scope.cancel()


def test_only_a_terminal_is_captured(pipe: tuple[int, TextIO]) -> None:
    with captured(pipe[1].fileno()) as errors:
        assert errors is None


async def test_log_lines_are_left_alone_beside_a_pipe(
    mock_clock: MockClock,
    pipe: tuple[int, TextIO],
    terminal: tuple[int, TextIO],
    logger: tuple[logging.Logger, int],
    nursery: trio.Nursery,
) -> None:
    report, log = Output(pipe[0]), Output(terminal[0])
    nursery.start_soon(show_reports, snapshot, 10, pipe[1])
    await eventually(lambda: "00:00:00" in report.text)
    logger[0].warning("on the terminal")
    await eventually(lambda: log.text == "on the terminal\r\n")
