"""The report as plain text."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.support.sample_statistics import server_statistics, statistics, worker_statistics
from trio_lb.observe.statistics import Rates, ServerRates
from trio_lb.observe.text import text_report, worker_lines

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_whole_report() -> None:
    shown = statistics(
        server_statistics(
            name="web",
            weight=20,
            max_connections=100,
            active=100,
            served=12345,
            failed=2,
            response_time_s=0.0123,
            p50_s=0.00085,
            p99_s=1.5,
            state="full",
        ),
        server_statistics(name="unix:/run/app.sock", address="unix:/run/app.sock", state="dead"),
        uptime_s=65.0,
        client_connections=7,
        client_connections_total=1234,
        requests_total=12400,
        responses_by_class={"5xx": 3, "2xx": 12397, "4xx": 0},
    )
    report = text_report(NOON, shown, Rates(207.0, (ServerRates(206.4), ServerRates(None))))
    time, header, web, app, *summary = report.splitlines()
    assert time == "[2026-07-01T12:00:00Z]"
    assert header == (
        "Address                      Status  Response Time  Connections  Connections Served"
        "  Weight  Max  Failures  Req/s     p50     p99"
    )
    assert web == (
        "http://127.0.0.1:3001 (web)  Full          12.3 ms          100              12,345"
        "      20  100         2    206  850 µs  1.50 s"
    )
    assert app == (
        "unix:/run/app.sock           Dead                -            0                   0"
        "       1    -         0      -       -       -"
    )
    assert summary == [
        "LB Summary",
        "  Total connections      100",
        "  Connections served     12,345",
        "  Average response time  12.3 ms",
        "  Alive servers          1/2",
        "  Requests               12,400, 207/s (2xx 12,397, 5xx 3)",
        "  Client connections     7 open, 1,234 in all",
        "  Algorithm              round_robin",
        "  Uptime                 00:01:05",
        "",
    ]
    assert report.endswith("\n\n")


def test_workers_have_a_table_of_their_own() -> None:
    shown = statistics(
        workers=(
            worker_statistics(
                number=1,
                state="draining",
                connections=3,
                connections_total=12000,
                requests=123456,
                active=2,
                served=123450,
            ),
            worker_statistics(state="starting", pid=None, starts=3, heartbeat_age_s=None),
        )
    )
    assert text_report(NOON, shown, Rates(None, ())).splitlines()[2:6] == [
        "Worker  State      PID  Starts  Heartbeat  Clients  Requests  Active   Served  Accepted",
        "     1  Draining  4711       1     250 ms        3   123,456       2  123,450    12,000",
        "     0  Starting     -       3          -        0         0       0        0         0",
        "LB Summary",
    ]


def test_a_narrow_table_of_workers_has_fewer_columns() -> None:
    shown = statistics(workers=(worker_statistics(requests=7, active=1),))
    assert worker_lines(shown, 70) == [
        "Worker  State     PID  Starts  Heartbeat  Clients  Requests  Active",
        "     0  Serving  4711       1     250 ms        0         7       1",
    ]
    assert worker_lines(shown, 10)[0].endswith("Heartbeat")
    assert worker_lines(statistics()) == []


def test_lost_access_log_entries_are_shown() -> None:
    report = text_report(NOON, statistics(access_log_dropped=5000), Rates(None, ()))
    assert "  Access log dropped     5,000" in report.splitlines()


def test_what_was_done_for_want_of_room_is_shown() -> None:
    shown = statistics(client_connections_refused=2, client_connections_let_go=3000)
    report = text_report(NOON, shown, Rates(None, ()))
    assert "  At capacity            2 refused, 3,000 idle closed" in report.splitlines()
    shown = statistics(accepting_pauses=1)
    report = text_report(NOON, shown, Rates(None, ()))
    assert "  At capacity            1 pauses of accepting" in report.splitlines()


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_names_neither_steer_the_terminal_nor_break_the_table(names: list[str]) -> None:
    servers = [server_statistics(name=name, served=7) for name in names]
    report = text_report(NOON, statistics(*servers), Rates(None, (ServerRates(None),) * len(names)))
    header, *rows = report.split("\n")[1 : 2 + len(names)]
    assert all(char.isprintable() or char == "\n" for char in report)
    assert len(report.split("\n")) == 13 + len(names)
    assert {cell_len(row) for row in rows} == {cell_len(header)}
