"""Closes idle connections to addresses that are gone from their server's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_lb.net.resolver import Resolver
    from trio_lb.pool import Member

    from .idle_pool import IdleConnections


class MovedServers:
    """Closes idle connections to addresses that are gone from their server's name.

    A connection in use is closed when it is idle, or at the end of its time (`upstream.max_age`).

    Args:
        resolver: told whose names are in use.
        members: all servers.
    """

    def __init__(self, resolver: Resolver, members: Iterable[Member]) -> None:
        self._resolver = resolver
        self.set_members(members)

    def set_members(self, members: Iterable[Member]) -> None:
        """Look after these servers from now on."""
        named = [member for member in members if member.server.address.named]
        self._resolver.use(member.server.address for member in named)
        self._named = [(member.table_slot, member.server.address.host) for member in named]

    def close_idle(self, upstreams: IdleConnections) -> None:
        """Close what leads to addresses that are gone, as far as that is known by now."""
        for slot, host in self._named:
            addresses = self._resolver.current(host)
            if addresses is not None:
                upstreams.keep_only(slot, addresses)
