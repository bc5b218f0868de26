"""Statistics to show, with only what a test is about spelt out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from trio_lb.observe.statistics import ServerStatistics, Statistics, WorkerStatistics

_SERVER = ServerStatistics(
    name="http://127.0.0.1:3001",
    address="http://127.0.0.1:3001",
    state="alive",
    weight=1,
    max_connections=0,
    active=0,
    served=0,
    failed=0,
    bytes_received=0,
    bytes_sent=0,
    response_time_s=None,
    p50_s=None,
    p99_s=None,
)

_WORKER = WorkerStatistics(number=0, state="serving", pid=4711, starts=1, heartbeat_age_s=0.25)

_STATISTICS = Statistics(
    started_at=datetime(2026, 7, 1, 12, tzinfo=UTC),
    uptime_s=0.0,
    algorithm="round_robin",
    servers=(),
    client_connections=0,
    client_connections_total=0,
    requests_total=0,
    responses_by_class={},
    access_log_dropped=0,
)


def server_statistics(**values: Any) -> ServerStatistics:
    """A server that is alive and has done nothing, but for what is given."""
    return replace(_SERVER, **values)


def worker_statistics(**values: Any) -> WorkerStatistics:
    """A healthy worker that has done nothing, but for what is given."""
    return replace(_WORKER, **values)


def statistics(*servers: ServerStatistics, **values: Any) -> Statistics:
    """A balancer that has done nothing, with these servers, but for what is given."""
    return replace(_STATISTICS, servers=servers, **values)
