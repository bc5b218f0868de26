"""The typed snapshot of a running balancer, and the rates between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trio_lb.pool import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trio_lb.plan import ServerPlan
    from trio_lb.pool import Counters, ServerCounters, ServerPool

ServerState = Literal["alive", "dead", "full", "draining"]
WorkerState = Literal["starting", "serving", "draining"]


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """One server at one moment.

    Attributes:
        name: its name in the profile; the address when it has none.
        address: its URL.
        state: "full" is an alive server with no connection slot left.
        weight: its share under the weighted algorithms.
        max_connections: most requests in flight at once; 0: no limit.
        active: requests in flight now.
        served: responses completed.
        failed: attempts that failed.
        bytes_received: body bytes received from the server.
        bytes_sent: body bytes sent to the server.
        response_time_s: moving average of the time to the first response byte.
        p50_s: median of the same time; None, like the other two, when nothing was measured.
        p99_s: the time that 99 of 100 responses kept.
    """

    name: str
    address: str
    state: ServerState
    weight: int
    max_connections: int
    active: int
    served: int
    failed: int
    bytes_received: int
    bytes_sent: int
    response_time_s: float | None
    p50_s: float | None
    p99_s: float | None

    @property
    def is_alive(self) -> bool:
        """Whether it works, be it full or not."""
        return self.state in ("alive", "full")


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """One worker at one moment: what the process that it is now has done.

    What processes that have ended did is in the balancer's totals alone.

    Attributes:
        number: which worker, from 0. While an old profile's workers drain, two have the same.
        state: "starting" until its process accepts clients, also when that is another one.
        pid: its process; None while there is none.
        starts: processes started so far; more than one means that some have died.
        heartbeat_age_s: since it last showed that its loop turns; None while it is starting.
        connections: client connections open now.
        connections_total: client connections accepted.
        requests: requests that are over.
        active: requests in flight on servers now.
        served: responses of servers completed.
    """

    number: int
    state: WorkerState
    pid: int | None
    starts: int
    heartbeat_age_s: float | None
    connections: int = 0
    connections_total: int = 0
    requests: int = 0
    active: int = 0
    served: int = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """The whole balancer at one moment.

    Attributes:
        started_at: when it started (UTC).
        uptime_s: seconds since then by the monotonic clock.
        algorithm: canonical name, such as "round_robin".
        servers: in the order of the profile.
        client_connections: client connections open now.
        client_connections_total: client connections accepted since the start.
        requests_total: requests read from clients since the start.
        responses_by_class: responses sent to clients, by class: {"2xx": 10, "5xx": 1}.
        access_log_dropped: access log entries lost to a slow, full or unwritable destination.
        client_connections_refused: those closed at once, since their address had too many.
        client_connections_let_go: idle ones closed early, to make room for others.
        accepting_pauses: how often a worker at capacity paused accepting, for 0.1 s each.
        workers: its processes, those that drain first; none in a balancer that is embedded.
    """

    started_at: datetime
    uptime_s: float
    algorithm: str
    servers: tuple[ServerStatistics, ...]
    client_connections: int
    client_connections_total: int
    requests_total: int
    responses_by_class: Mapping[str, int]
    access_log_dropped: int
    client_connections_refused: int = 0
    client_connections_let_go: int = 0
    accepting_pauses: int = 0
    workers: tuple[WorkerStatistics, ...] = ()

    @property
    def total_active(self) -> int:
        """Requests in flight on all servers."""
        return sum(server.active for server in self.servers)

    @property
    def total_served(self) -> int:
        """Responses completed by all servers."""
        return sum(server.served for server in self.servers)

    @property
    def alive_servers(self) -> int:
        """How many servers work (full ones do)."""
        return sum(server.is_alive for server in self.servers)

    @property
    def average_response_time_s(self) -> float | None:
        """Mean of the response times of the alive servers that have one."""
        times = [
            server.response_time_s
            for server in self.servers
            if server.is_alive and server.response_time_s is not None
        ]
        return sum(times) / len(times) if times else None


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests per second between two snapshots; None where there is nothing to compare with.

    Attributes:
        total: requests read from clients, per second.
        servers: responses completed by each server, per second, in the order of the servers.
    """

    total: float | None
    servers: tuple[float | None, ...]

    @classmethod
    def between(cls, previous: Statistics | None, current: Statistics) -> Rates:
        """Compare two snapshots of one balancer; without a previous one nothing is known."""
        elapsed = current.uptime_s - previous.uptime_s if previous else 0.0
        if previous is None or elapsed <= 0:
            return cls(None, (None,) * len(current.servers))
        # By place and name: two servers may share a name, and a place may get another server.
        before = {(place, one.name): one.served for place, one in enumerate(previous.servers)}
        return cls(
            (current.requests_total - previous.requests_total) / elapsed,
            tuple(
                (one.served - before[place, one.name]) / elapsed
                if (place, one.name) in before
                else None
                for place, one in enumerate(current.servers)
            ),
        )


def statistics_from(
    counters: Sequence[ServerCounters],
    servers: Sequence[ServerPlan],
    *,
    algorithm: str,
    started_at: datetime,
    uptime_s: float,
    client_connections: int,
    client_connections_total: int,
    requests_total: int,
    responses_by_class: Mapping[str, int],
    access_log_dropped: int = 0,
    client_connections_refused: int = 0,
    client_connections_let_go: int = 0,
    accepting_pauses: int = 0,
    workers: Sequence[WorkerStatistics] = (),
) -> Statistics:
    """Join the table's counters with what the profile says of each server.

    Args:
        counters: `ServerPool.snapshot()`.
        servers: `ServerPool.servers`; a counter's slot is its server's index here.
        algorithm: see `Statistics`, as for the rest.
        started_at: when the balancer started (UTC).
        uptime_s: seconds since then.
        client_connections: open now.
        client_connections_total: accepted since the start.
        requests_total: read since the start.
        responses_by_class: sent since the start; copied.
        access_log_dropped: since the start.
        client_connections_refused: since the start.
        client_connections_let_go: since the start.
        accepting_pauses: since the start.
        workers: if there are any.
    """
    return Statistics(
        started_at=started_at,
        uptime_s=uptime_s,
        algorithm=algorithm,
        servers=tuple(_server_statistics(one, servers[one.slot]) for one in counters),
        client_connections=client_connections,
        client_connections_total=client_connections_total,
        requests_total=requests_total,
        responses_by_class=dict(responses_by_class),
        access_log_dropped=access_log_dropped,
        client_connections_refused=client_connections_refused,
        client_connections_let_go=client_connections_let_go,
        accepting_pauses=accepting_pauses,
        workers=tuple(workers),
    )


def statistics_of(
    pool: ServerPool,
    counters: Counters,
    *,
    algorithm: str,
    started_at: datetime,
    uptime_s: float,
    workers: Sequence[WorkerStatistics] = (),
) -> Statistics:
    """What a pool's table says at this moment, for all processes that share it."""
    clients = counters.read()
    return statistics_from(
        pool.snapshot(),
        pool.servers,
        algorithm=algorithm,
        started_at=started_at,
        uptime_s=uptime_s,
        client_connections=clients.connections,
        client_connections_total=clients.connections_total,
        requests_total=clients.requests,
        responses_by_class={f"{first}xx": clients.classes[first] for first in range(1, 6)},
        access_log_dropped=clients.log_dropped,
        client_connections_refused=clients.refused,
        client_connections_let_go=clients.let_go,
        accepting_pauses=clients.pauses,
        workers=workers,
    )


def _server_statistics(counters: ServerCounters, server: ServerPlan) -> ServerStatistics:
    return ServerStatistics(
        name=server.name,
        address=str(server.address),
        state=_shown_state(counters),
        weight=counters.weight,
        max_connections=counters.max_connections,
        active=counters.active,
        served=counters.served,
        failed=counters.failed,
        bytes_received=counters.bytes_received,
        bytes_sent=counters.bytes_sent,
        response_time_s=counters.response_time_s,
        p50_s=counters.p50_s,
        p99_s=counters.p99_s,
    )


def _shown_state(counters: ServerCounters) -> ServerState:
    if counters.state is State.ALIVE:
        return "full" if counters.active >= counters.max_connections > 0 else "alive"
    return "draining" if counters.state is State.DRAINING else "dead"
