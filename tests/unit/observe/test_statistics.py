"""Snapshots: joining counters with servers, totals, and rates between two of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.sample_statistics import server_statistics, statistics
from trio_lb.observe.statistics import Rates, ServerRates, ServerState, Statistics, statistics_from
from trio_lb.plan import Address, ServerPlan
from trio_lb.pool import ClientCounters, ServerCounters, State

COUNTERS = ServerCounters(
    index=0,
    state=State.ALIVE,
    active=0,
    served=0,
    failed=0,
    bytes_received=0,
    bytes_sent=0,
    response_time_s=None,
    p50_s=None,
    p99_s=None,
    weight=1,
    max_connections=0,
)

SERVERS = tuple(
    ServerPlan(name=name, address=Address(host="127.0.0.1", port=port))
    for port, name in enumerate(("one", "two"), 1)
)


CLIENTS = ClientCounters(
    connections=1,
    connections_total=2,
    classes=(1, 2, 3, 4, 5, 6),
    log_dropped=7,
    refused=8,
    let_go=9,
    pauses=10,
    slow=(11, 12, 13, 14, 15, 16, 17),
)


def joined(*counters: ServerCounters) -> Statistics:
    return statistics_from(
        counters,
        SERVERS,
        CLIENTS,
        algorithm="round_robin",
        started_at=datetime(2026, 7, 1, tzinfo=UTC),
        uptime_s=5.0,
    )


@pytest.mark.parametrize(
    ("state", "active", "most", "shown"),
    [
        (State.ALIVE, 5, 0, "alive"),
        (State.ALIVE, 1, 2, "alive"),
        (State.ALIVE, 2, 2, "full"),
        (State.ALIVE, 3, 2, "full"),
        (State.DEAD, 2, 2, "dead"),
        (State.DRAINING, 2, 2, "draining"),
    ],
)
def test_state_shown(state: State, active: int, most: int, shown: ServerState) -> None:
    counters = replace(COUNTERS, state=state, active=active, max_connections=most)
    assert joined(counters).servers[0].state == shown


def test_counters_find_their_server_by_slot() -> None:
    counters = replace(
        COUNTERS,
        index=1,
        active=1,
        served=2,
        failed=3,
        bytes_received=4,
        bytes_sent=5,
        response_time_s=0.6,
        p50_s=0.7,
        p99_s=0.8,
        weight=9,
        max_connections=10,
    )
    two, one = joined(counters, COUNTERS).servers
    assert one.name == "one"
    assert two == server_statistics(
        name="two",
        address="http://127.0.0.1:2",
        active=1,
        served=2,
        failed=3,
        bytes_received=4,
        bytes_sent=5,
        response_time_s=0.6,
        p50_s=0.7,
        p99_s=0.8,
        weight=9,
        max_connections=10,
    )


def test_what_all_clients_did_is_there() -> None:
    snapshot = joined()
    assert snapshot.client_connections == 1
    assert snapshot.client_connections_total == 2
    assert snapshot.requests_total == 21
    assert snapshot.responses_by_class == {"1xx": 2, "2xx": 3, "3xx": 4, "4xx": 5, "5xx": 6}
    assert snapshot.access_log_dropped == 7
    assert snapshot.client_connections_refused == 8
    assert snapshot.client_connections_let_go == 9
    assert snapshot.accepting_pauses == 10
    assert snapshot.slow_path_total == {
        "settings": 11,
        "upgrade": 12,
        "request": 13,
        "client": 14,
        "no_server": 15,
        "server": 16,
        "response": 17,
    }


def test_totals() -> None:
    shown = statistics(
        server_statistics(active=1, served=10, response_time_s=0.1),
        server_statistics(active=2, served=20, response_time_s=0.3, state="full"),
        server_statistics(active=4, served=40, response_time_s=9.0, state="dead"),
        server_statistics(active=8, served=80, response_time_s=9.0, state="draining"),
        server_statistics(),
    )
    assert shown.total_active == 15
    assert shown.total_served == 150
    assert shown.alive_servers == 3
    assert shown.average_response_time_s == pytest.approx(0.2)


def test_no_average_without_figures() -> None:
    dead = server_statistics(state="dead", response_time_s=1.0)
    assert statistics(server_statistics(), dead).average_response_time_s is None


def test_rates_are_differences_over_time() -> None:
    one, two = server_statistics(name="a", served=5), server_statistics(name="a", served=7)
    before = statistics(one, two, uptime_s=10.0, requests_total=100)
    after = statistics(
        server_statistics(name="a", served=9),
        server_statistics(name="a", served=7),
        uptime_s=12.0,
        requests_total=130,
    )
    assert Rates.between(before, after) == Rates(15.0, (ServerRates(2.0), ServerRates(0.0)))


def test_no_rates_without_something_to_compare_with() -> None:
    now = statistics(server_statistics(served=9), uptime_s=1.0, requests_total=9)
    assert Rates.between(None, now) == Rates(None, (ServerRates(None),))
    assert Rates.between(now, now) == Rates(None, (ServerRates(None),))
    replaced = statistics(server_statistics(name="new", served=1), uptime_s=2.0, requests_total=10)
    assert Rates.between(now, replaced) == Rates(1.0, (ServerRates(None),))
