"""The fast path of a process, made as its profile says."""

from __future__ import annotations

import logging
import math
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from trio_lb.net.deadlines import loop_clock
from trio_lb.net.dial import dial_at_once
from trio_lb.upstream.watched_pool import WatchedPool

if TYPE_CHECKING:
    from trio_lb.fast.exchange.fast_path import FastPath
    from trio_lb.fast.loop.epoll import Epoll
    from trio_lb.fast.record.buffer import RecordBuffer
    from trio_lb.net.deadlines import Deadlines
    from trio_lb.plan import ClientPlan, RoutePlan, UpstreamSettings
    from trio_lb.pool import ServerPool

log = logging.getLogger("trio_lb.proxy")


class FastPathParts(NamedTuple):
    """The parts of the fast path that a service looks after.

    Attributes:
        readiness: its tasks must run somewhere; closed after them.
        upstreams: the idle connections of both paths.
        fast_path: for the proxy.
    """

    readiness: Epoll
    upstreams: WatchedPool
    fast_path: FastPath


def build_fast_path(
    clients: ClientPlan,
    route: RoutePlan,
    upstream: UpstreamSettings,
    servers: ServerPool,
    deadlines: Deadlines,
    records: RecordBuffer | None,
) -> FastPathParts | None:
    """Make the fast path; None where it is not made for what servers want, or can't be.

    It needs an epoll of its own, which only Linux has, and which a sandbox may refuse.

    Args:
        clients: what holds for them.
        route: how requests are forwarded.
        upstream: how connections to servers are kept.
        servers: the pool.
        deadlines: of the slow path's waits on connections made here.
        records: who gets one of every request that is served here, if anybody wants to know.
    """
    if any(server.send_proxy for server in servers.servers):
        return None  # connections that are for one client each
    if find_spec("trio_lb.fast.exchange.fast_path") is None:
        log.debug("no fast path in this build: the slow path serves everything")
        return None
    from trio_lb.fast.exchange.fast_path import FastPath
    from trio_lb.fast.loop.epoll import Epoll
    from trio_lb.fast.loop.upstreams import Server

    try:
        readiness = Epoll(loop_clock())
    except OSError as exc:  # a sandbox without eventfd(2), say
        log.debug("no epoll (%s): the slow path serves everything", exc.strerror)
        return None
    table, selection, slots = servers.compiled()
    limits, timeouts = clients.limits, clients.timeouts
    compiled = [
        Server(
            readiness,
            slot=slot,
            place=place,
            name=server.name.encode("utf-8", "backslashreplace"),
            prefix=server.address.path.encode("ascii").rstrip(b"/"),
            limit=upstream.idle_connections,
            max_age=math.inf if upstream.max_age is None else upstream.max_age,
            dial=dial_at_once(server.address, deadlines, timeouts.body),
        )
        for place, (slot, server) in enumerate(zip(slots, servers.servers, strict=True))
    ]
    fast_path = FastPath(
        readiness,
        table,
        selection,
        compiled,
        os.urandom(6).hex().encode(),
        head_limit=limits.head,
        target_limit=limits.target,
        field_limit=limits.fields,
        body_limit=route.body_limit,
        replay_body=route.replay_body,
        client_head=timeouts.head,
        keep_alive=timeouts.keep_alive,
        body=timeouts.body,
        connect=route.timeouts.connect,
        response=route.timeouts.response,
        half_closed=timeouts.half_closed,
        idle=upstream.idle_timeout,
        min_rate=limits.min_rate,
        most_requests=limits.requests,
        confined=any(server.address.path for server in servers.servers),
        records=records,
    )
    if fast_path.pipe_problem:
        log.debug("no splice (%s): large bodies are copied", os.strerror(fast_path.pipe_problem))
    return FastPathParts(readiness, WatchedPool(compiled, upstream.idle_timeout), fast_path)
