"""The typed snapshot of a running load balancer, and the rates between two of them.

This is the table of all statistics, described by `trio_lb.observe.catalogue`: add one here, and it
is read, saved, documented (`python scripts/document_statistics.py`), and shown if it has a heading
and a column in `trio_lb.observe.text`. docs/extending.md has all the steps.
"""

# No annotations from __future__: the catalogue needs them as they are.
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal, Self

from trio_lb.observe import units
from trio_lb.observe.catalogue import counter, gauge, label, values_of
from trio_lb.plan import ServerPlan
from trio_lb.pool import (
    ClientCounters,
    Counters,
    ServerCounters,
    ServerPool,
    SlowPathReason,
    State,
)  # fmt: skip

ServerState = Literal["alive", "dead", "full", "draining"]
WorkerState = Literal["starting", "serving", "draining"]


def _shown_state(counters: ServerCounters, _: ServerPlan) -> ServerState:
    if counters.state is State.ALIVE:
        return "full" if counters.active >= counters.max_connections > 0 else "alive"
    return "draining" if counters.state is State.DRAINING else "dead"


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """One server at one moment. Read from its counters and what the profile says about it."""

    name: Annotated[
        str,
        label(
            "its name in the profile; the address when it has none",
            read=lambda _, server: server.name,
        ),
    ]
    address: Annotated[
        str, label("its URL", heading="Address", read=lambda _, server: str(server.address))
    ]
    state: Annotated[
        ServerState,
        label(
            "`alive`; `full`: alive, but all its connection slots are taken; `draining`: gets "
            "nothing new; `dead`",
            heading="Status",
            show=str.capitalize,
            read=_shown_state,
        ),
    ]
    weight: Annotated[
        int,
        gauge(
            "its share under the weighted algorithms",
            heading="Weight",
            read=lambda counters, _: counters.weight,
        ),
    ]
    max_connections: Annotated[
        int,
        gauge(
            "most requests in flight at once; 0, shown as `-`: no maximum",
            heading="Max",
            show=units.limit,
            read=lambda counters, _: counters.max_connections,
        ),
    ]
    active: Annotated[
        int,
        gauge(
            "requests in flight on it now",
            heading="Connections",
            read=lambda counters, _: counters.active,
        ),
    ]
    served: Annotated[
        int,
        counter(
            "responses completed",
            heading="Connections Served",
            read=lambda counters, _: counters.served,
        ),
    ]
    failed: Annotated[
        int,
        counter(
            "attempts that failed", heading="Failures", read=lambda counters, _: counters.failed
        ),
    ]
    bytes_received: Annotated[
        int,
        counter(
            "body bytes received from it", "bytes", read=lambda counters, _: counters.bytes_received
        ),
    ]
    bytes_sent: Annotated[
        int, counter("body bytes sent to it", "bytes", read=lambda counters, _: counters.bytes_sent)
    ]
    response_time_s: Annotated[
        float | None,
        gauge(
            "moving average of the time from sending a request to the first byte of its response",
            "s",
            heading="Response Time",
            read=lambda counters, _: counters.response_time_s,
        ),
    ]
    p50_s: Annotated[
        float | None,
        gauge(
            "half of its response times were no longer than this",
            "s",
            heading="p50",
            read=lambda counters, _: counters.p50_s,
        ),
    ]
    p99_s: Annotated[
        float | None,
        gauge(
            "99 of 100 of its response times were no longer than this",
            "s",
            heading="p99",
            read=lambda counters, _: counters.p99_s,
        ),
    ]

    @property
    def is_alive(self) -> bool:
        """Whether it works, be it full or not."""
        return self.state in ("alive", "full")


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """One worker at one moment: what the process that it is now has done.

    What processes that have ended did is in the balancer's totals alone. Read from the process's
    client counters, and its requests in flight and responses completed.
    """

    number: Annotated[
        int,
        label(
            "which worker, from 0; while the workers of an old profile drain, two have the same",
            heading="Worker",
            show=units.count,
        ),
    ]
    state: Annotated[
        WorkerState,
        label("`starting`, `serving` or `draining`", heading="State", show=str.capitalize),
    ]
    pid: Annotated[
        int | None,
        label(
            "its process; `null`, shown as `-`, while there is none",
            heading="PID",
            show=lambda pid: units.NOTHING if pid is None else str(pid),
        ),
    ]
    starts: Annotated[
        int,
        counter(
            "processes started so far: more than 1 means that some have died", heading="Starts"
        ),
    ]
    heartbeat_age_s: Annotated[
        float | None,
        gauge(
            "time since its last heartbeat, of which there is one every half a second; `null` "
            "while it is starting",
            "s",
            heading="Heartbeat",
        ),
    ]
    connections: Annotated[
        int,
        gauge(
            "client connections open now",
            heading="Clients",
            read=lambda clients, _: clients.connections,
        ),
    ] = 0
    connections_total: Annotated[
        int,
        counter(
            "client connections accepted so far",
            heading="Accepted",
            read=lambda clients, _: clients.connections_total,
        ),
    ] = 0
    requests: Annotated[
        int,
        counter(
            "requests that are over, however they ended",
            heading="Requests",
            read=lambda clients, _: clients.requests,
        ),
    ] = 0
    active: Annotated[
        int,
        gauge("requests in flight on servers", heading="Active", read=lambda _, work: work[0]),
    ] = 0
    served: Annotated[
        int,
        counter("responses of servers completed", heading="Served", read=lambda _, work: work[1]),
    ] = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """The whole balancer at one moment. Read from the client counters of all processes.

    Attributes:
        servers: in the order of the profile.
        workers: its processes, those that drain first; none in a balancer that is embedded.
    """

    started_at: Annotated[datetime, label("when it started: UTC, ISO 8601")]
    uptime_s: Annotated[
        float,
        gauge("since the start, by a clock that nobody sets", "s"),
    ]
    algorithm: Annotated[str, label("its canonical name, such as `round_robin`")]
    servers: tuple[ServerStatistics, ...]
    client_connections: Annotated[
        int, gauge("client connections open now", read=lambda clients: clients.connections)
    ]
    client_connections_total: Annotated[
        int, counter("client connections accepted", read=lambda clients: clients.connections_total)
    ]
    requests_total: Annotated[
        int, counter("requests read from clients", read=lambda clients: clients.requests)
    ]
    responses_by_class: Annotated[
        Mapping[str, int],
        counter(
            'responses sent to clients, by class: `{"2xx": 20501, "5xx": 5}`',
            read=lambda clients: {f"{first}xx": clients.classes[first] for first in range(1, 6)},
        ),
    ]
    access_log_dropped: Annotated[
        int,
        counter(
            "access log entries lost to a slow, full or unwritable destination",
            read=lambda clients: clients.log_dropped,
        ),
    ]
    client_connections_refused: Annotated[
        int,
        counter(
            "client connections closed at once, since their address had too many",
            read=lambda clients: clients.refused,
        ),
    ] = 0
    client_connections_let_go: Annotated[
        int,
        counter(
            "idle client connections closed early, to make room for others",
            read=lambda clients: clients.let_go,
        ),
    ] = 0
    accepting_pauses: Annotated[
        int,
        counter(
            "how often a worker at capacity paused accepting, for 0.1 s each",
            read=lambda clients: clients.pauses,
        ),
    ] = 0
    slow_path_total: Annotated[
        Mapping[str, int],
        counter(
            "requests served on the slow path, by reason: see [below](#why-the-slow-path)",
            read=lambda clients: {
                reason.name.lower(): clients.slow[reason] for reason in SlowPathReason
            },
        ),
    ] = field(default_factory=dict)
    workers: tuple[WorkerStatistics, ...] = ()

    @property
    def total_active(self) -> Annotated[int, gauge("requests in flight on all servers")]:
        """Requests in flight on all servers."""
        return sum(server.active for server in self.servers)

    @property
    def total_served(self) -> Annotated[int, counter("responses completed by all servers")]:
        """Responses completed by all servers."""
        return sum(server.served for server in self.servers)

    @property
    def alive_servers(self) -> Annotated[int, gauge("servers that work; full ones do")]:
        """How many servers work (full ones do)."""
        return sum(server.is_alive for server in self.servers)

    @property
    def average_response_time_s(
        self,
    ) -> Annotated[
        float | None, gauge("mean of the response times of the alive servers that have one", "s")
    ]:
        """Mean of the response times of the alive servers that have one."""
        times = [
            server.response_time_s
            for server in self.servers
            if server.is_alive and server.response_time_s is not None
        ]
        return sum(times) / len(times) if times else None


@dataclass(frozen=True, slots=True)
class ServerRates:
    """Of one server, between two snapshots; None where there is nothing to compare with."""

    requests_per_s: Annotated[
        float | None,
        gauge("responses completed per second since the last round", "1/s", heading="Req/s"),
    ]


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests per second between two snapshots; None where there is nothing to compare with.

    Attributes:
        servers: in the order of the servers.
    """

    requests_per_s: Annotated[
        float | None, gauge("requests read from clients per second since the last round", "1/s")
    ]
    servers: tuple[ServerRates, ...]

    @classmethod
    def between(cls, previous: Statistics | None, current: Statistics) -> Self:
        """Compare two snapshots of one balancer; without a previous one nothing is known."""
        elapsed = current.uptime_s - previous.uptime_s if previous else 0.0
        if previous is None or elapsed <= 0:
            return cls(None, (ServerRates(None),) * len(current.servers))
        # By place and name: two servers may share a name, and a place may get another server.
        before = {(place, one.name): one.served for place, one in enumerate(previous.servers)}
        return cls(
            (current.requests_total - previous.requests_total) / elapsed,
            tuple(
                ServerRates(
                    (one.served - before[place, one.name]) / elapsed
                    if (place, one.name) in before
                    else None
                )
                for place, one in enumerate(current.servers)
            ),
        )


def statistics_from(
    counters: Sequence[ServerCounters],
    servers: Sequence[ServerPlan],
    clients: ClientCounters,
    *,
    algorithm: str,
    started_at: datetime,
    uptime_s: float,
    workers: Sequence[WorkerStatistics] = (),
) -> Statistics:
    """Join what the table has counted with what the profile says of each server.

    Args:
        counters: `ServerPool.snapshot()`.
        servers: what the profile says of them; a counter's index is that of its server here.
        clients: `Counters.read()`.
        algorithm: see `Statistics`, as for the rest.
        started_at: when the balancer started (UTC).
        uptime_s: seconds since then.
        workers: if there are any.
    """
    return Statistics(
        started_at=started_at,
        uptime_s=uptime_s,
        algorithm=algorithm,
        servers=tuple(
            ServerStatistics(**values_of(ServerStatistics, one, servers[one.index]))
            for one in counters
        ),
        workers=tuple(workers),
        **values_of(Statistics, clients),
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
    return statistics_from(
        pool.snapshot(),
        [member.server for member in pool.members],
        counters.read(),
        algorithm=algorithm,
        started_at=started_at,
        uptime_s=uptime_s,
        workers=workers,
    )
