"""The fast path of a process, made as its profile says."""

from __future__ import annotations

import logging
import math
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from trio_lb.net.deadlines import loop_clock
from trio_lb.net.dial import HEAD_START
from trio_lb.upstream.watched_pool import WatchedPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.fast.exchange import FastPath, Route
    from trio_lb.fast.loop import Epoll, Server
    from trio_lb.fast.record import RecordBuffer
    from trio_lb.net.dial import Dialler
    from trio_lb.plan import ClientPlan, RoutePlan, UpstreamSettings
    from trio_lb.pool import Member, ServerPool

log = logging.getLogger("trio_lb.proxy")


class FastPathParts:
    """The parts of the fast path that a service looks after.

    Args:
        readiness: as below.
        upstreams: likewise.
        fast_path: likewise.
        route: likewise.
        compile_server: makes a server's part of it.

    Attributes:
        readiness: its tasks must run somewhere; closed after them.
        upstreams: the idle connections of both paths.
        fast_path: for the proxy.
    """

    def __init__(
        self,
        readiness: Epoll,
        upstreams: WatchedPool,
        fast_path: FastPath,
        route: Route,
        compile_server: Callable[[Member], Server],
    ) -> None:
        self.readiness = readiness
        self.upstreams = upstreams
        self.fast_path = fast_path
        self._route = route
        self._compile_server = compile_server

    def set_members(self, servers: ServerPool) -> None:
        """Serve from the pool's present members from the next request on.

        Those that stay keep their connections. Requests that others have in hand are finished.
        """
        members, before = servers.members, dict(self.upstreams.servers)
        compiled = {}
        for member in members:
            server = before.get(member.table_slot)
            if server is not None and server.member in members:
                del before[member.table_slot]
                server.member, server.name = member, _shown(member)
            else:
                server = self._compile_server(member)
            compiled[member.table_slot] = server
        self._route.set_members(servers.selection, list(compiled.values()), members.confined)
        self.upstreams.servers = compiled
        for gone in before.values():
            gone.dismiss()


def build_fast_path(
    clients: ClientPlan,
    route: RoutePlan,
    upstream: UpstreamSettings,
    servers: ServerPool,
    dialler: Dialler,
    records: RecordBuffer | None,
) -> FastPathParts | None:
    """Make the fast path; None where it is not made for what servers want, or can't be.

    It needs an epoll of its own, which only Linux has, and which a sandbox may refuse.

    Args:
        clients: what holds for them.
        route: how requests are forwarded.
        upstream: how connections to servers are kept.
        servers: the pool.
        dialler: how to connect to servers.
        records: who gets one of every request that is served here, if anybody wants to know.
    """
    if servers.members.send_proxy:
        return None  # connections that are for one client each
    if find_spec("trio_lb.fast.exchange") is None:
        log.debug("no fast path in this build: the slow path serves everything")
        return None
    from trio_lb.fast.exchange import FastPath, Route
    from trio_lb.fast.loop import Epoll, Server

    try:
        readiness = Epoll(loop_clock())
    except OSError as exc:  # a sandbox without eventfd(2), say
        log.debug("no epoll (%s): the slow path serves everything", exc.strerror)
        return None
    limits, timeouts = clients.limits, clients.timeouts

    def compile_server(member: Member) -> Server:
        address = member.server.address
        return Server(
            readiness,
            slot=member.table_slot,
            member=member,
            name=_shown(member),
            prefix=address.path.encode("ascii").rstrip(b"/"),
            limit=upstream.idle_connections,
            max_age=math.inf if upstream.max_age is None else upstream.max_age,
            dial=dialler.beginning(address),
            head_start=HEAD_START if address.named else math.inf,
        )

    compiled = {member.table_slot: compile_server(member) for member in servers.members}
    compiled_route = Route(
        servers.table,
        servers.selection,
        list(compiled.values()),
        confined=servers.members.confined,
        body_limit=route.body_limit,
        replay_body=route.replay_body,
        connect=route.timeouts.connect,
        response=route.timeouts.response,
        idle=upstream.idle_timeout,
    )
    fast_path = FastPath(
        readiness,
        servers.table,
        compiled_route,
        os.urandom(6).hex().encode(),
        head_limit=limits.head,
        target_limit=limits.target,
        field_limit=limits.fields,
        client_head=timeouts.head,
        keep_alive=timeouts.keep_alive,
        body=timeouts.body,
        half_closed=timeouts.half_closed,
        min_rate=limits.min_rate,
        most_requests=limits.requests,
        records=records,
    )
    if fast_path.pipe_problem:
        log.debug("no splice (%s): large bodies are copied", os.strerror(fast_path.pipe_problem))
    upstreams = WatchedPool(compiled, upstream.idle_timeout)
    return FastPathParts(readiness, upstreams, fast_path, compiled_route, compile_server)


def _shown(member: Member) -> bytes:
    """A server's name, as it is in records."""
    return member.server.name.encode("utf-8", "backslashreplace")
