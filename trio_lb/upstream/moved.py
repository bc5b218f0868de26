"""Servers whose names lead somewhere else by now: nothing is kept to where they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from trio_lb.net.resolver import resolver

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_lb.pool import Member

    from .idle_pool import IdleConnections

#: How often names are looked up, beside the look-ups of new connections; seconds.
_REFRESH: Final = 30.0


class MovedServers:
    """Closes idle connections to addresses that are gone from their server's name.

    A connection in use is closed when it is idle, or at the end of its time (`upstream.max_age`).

    Args:
        members: all servers.
    """

    def __init__(self, members: Iterable[Member]) -> None:
        self.set_members(members)
        self._due = trio.current_time() + _REFRESH

    def set_members(self, members: Iterable[Member]) -> None:
        """Look after these servers from now on."""
        self._named = [
            (member.table_slot, member.server.address)
            for member in members
            if member.server.address.named
        ]

    def close_idle(self, upstreams: IdleConnections) -> None:
        """Close what leads to addresses that are gone, as far as that is known by now."""
        names = resolver()
        now = trio.current_time()
        if now >= self._due:
            self._due = now + _REFRESH
            for _, address in self._named if len(upstreams) else ():
                names.refresh(address.host, str(address))
        for slot, address in self._named:
            hosts = names.current(address.host)
            if hosts is not None:
                upstreams.keep_only(slot, hosts)
