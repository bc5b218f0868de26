"""Pools: the servers, how one is picked, how they are reached and checked."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from trio_lb.plan.address import Address  # noqa: TC001 -- msgspec reads the annotation
from trio_lb.plan.algorithm import Algorithm  # noqa: TC001


class ServerPlan(Struct, frozen=True, kw_only=True, array_like=True):
    """A server that requests are passed on to.

    Attributes:
        address: where it is.
        name: its name in logs and reports.
        weight: its share relative to the others (weighted_*).
        max_connections: requests it may have at one time; 0 means any number.
        send_proxy: version of the PROXY header that connections to it begin with.
    """

    address: Address
    name: str
    weight: int = 1
    max_connections: int = 0
    send_proxy: Literal["v1", "v2"] | None = None


class UpstreamSettings(Struct, frozen=True, kw_only=True):
    """Connections to servers that are kept for the next request.

    Attributes:
        idle_connections: how many idle ones are kept for each server.
        idle_timeout: how long an idle one is kept.
        max_age: how long one is kept at all.
    """

    idle_connections: int
    idle_timeout: float
    max_age: float | None


class HealthCheckPlan(Struct, frozen=True, kw_only=True):
    """How each server of a pool is asked whether it is healthy.

    Attributes:
        enabled: there are checks of servers that are up; those that are down are always checked.
        interval: between two checks of a server.
        timeout: until a check counts as failed.
        method, path, host, port, headers: what is asked; None for the server's own.
        statuses: first and last status of each range that is healthy.
        rise: passed checks in a row after which a server is marked up.
        fall: failed checks in a row that mark it down.
        jitter: share of the interval by which each one is varied at random.
        shown_path, shown_port: what people are shown, where parts of these are secrets.
    """

    enabled: bool
    interval: float
    timeout: float
    method: str
    path: str
    host: str | None
    port: int | None
    headers: dict[str, str]
    statuses: tuple[tuple[int, int], ...]
    rise: int
    fall: int
    jitter: float
    shown_path: str
    shown_port: str

    def accepts(self, status: int) -> bool:
        """Whether an answer with this status means that the server is healthy."""
        return any(first <= status <= last for first, last in self.statuses)


class PoolPlan(Struct, frozen=True, kw_only=True):
    """Servers that stand for each other.

    Attributes:
        name: what routes call it.
        servers: at least one.
        algorithm: how one of them is picked for a request.
        upstream: connections kept to them.
        health_check: how they are checked.
    """

    name: str
    servers: tuple[ServerPlan, ...]
    algorithm: Algorithm
    upstream: UpstreamSettings
    health_check: HealthCheckPlan
