"""The whole plan."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from trio_lb.plan.address import Address  # noqa: TC001 -- msgspec reads the annotation
from trio_lb.plan.clients import ClientPlan  # noqa: TC001
from trio_lb.plan.pools import PoolPlan  # noqa: TC001
from trio_lb.plan.routes import RoutePlan  # noqa: TC001


class ListenerPlan(Struct, frozen=True, kw_only=True):
    """An address where clients connect.

    Attributes:
        address: where.
        proxy_protocol: connections begin with a PROXY header.
        owner, group: whose a unix socket is, names or numbers; None for those of the process.
        mode: who may connect to a unix socket; None for the owner and the group.
    """

    address: Address
    proxy_protocol: bool = False
    owner: str | None = None
    group: str | None = None
    mode: int | None = None


class AccessLogPlan(Struct, frozen=True, kw_only=True):
    """Where there is a line for every request.

    Attributes:
        path: of the file; "-" for standard output.
        shown: what people are shown of it.
        form: of the lines.
    """

    path: str
    shown: str
    form: Literal["combined", "json"]


class Plan(Struct, frozen=True, kw_only=True):
    """What a load balancer does.

    Attributes:
        listeners: where clients connect.
        clients: what holds for all of them.
        routes: in the order in which they are tried; there is one, which takes everything.
        pools: those that the routes name; there is one.
        fast_path: compiled code serves ordinary requests.
        access_log: None if there is none.
        drain_timeout: how long requests in flight may take to finish at the end.
        log_level: the least serious messages that are logged.
    """

    listeners: tuple[ListenerPlan, ...]
    clients: ClientPlan
    routes: tuple[RoutePlan, ...]
    pools: tuple[PoolPlan, ...]
    fast_path: bool
    access_log: AccessLogPlan | None
    drain_timeout: float
    log_level: str

    def pool_of(self, route: RoutePlan) -> PoolPlan:
        """The pool that serves a route's requests."""
        return next(pool for pool in self.pools if pool.name == route.pool)
