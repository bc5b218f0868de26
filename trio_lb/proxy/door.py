"""Who may come in, and who goes for it.

There are places for so many clients (`limits.clients`, over all processes; as many as the file
descriptors allow, in each). When all are taken, others wait in the system's queue, and connections
that have been idle longest are closed for them: those between two requests, or before the first.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import TYPE_CHECKING, Never

import trio

if TYPE_CHECKING:
    from trio_lb.balance import ServerPool
    from trio_lb.net.transport import SocketTransport
    from trio_lb.net.upstream_pool import IdleConnections
    from trio_lb.profile import Profile

    from .connection import Proxy

#: Descriptors kept for what is neither a client nor a server: logs, lookups of names; and the pipes
#: of the plain road, which can do with fewer.
_RESERVE = 16
_PIPES = 32

#: How often a process looks whether another one wants places, and for how long that holds; seconds.
_LOOK = 0.25
_WANTING = 0.5


class Door:
    """The door of one process.

    Args:
        profile: for its limits.
        servers: for the places, which all processes share, and the counters.
        upstreams: idle connections to servers, whose descriptors may be wanted.
        proxy: serves who comes in.
    """

    def __init__(
        self,
        profile: Profile,
        servers: ServerPool,
        upstreams: IdleConnections,
        proxy: Proxy,
    ) -> None:
        self._most = sys.maxsize if profile.limits.clients is None else profile.limits.clients
        self._most_here = _most_by_descriptors(halved=profile.limits.clients is None)
        self._places = servers.places
        self._tally = servers.tally
        self._upstreams = upstreams
        self._proxy = proxy

    def take_place(self) -> str | None:
        """Keep a place for the next client; if there is none, say why."""
        if self._places.taken >= self._most_here:
            return f"{self._most_here} clients are as many as the open files allow"
        if self._places.take(self._most):
            return None
        return f"there are {self._most} clients (limits.clients)"

    def give_place_back(self) -> None:
        """Nobody came for the place."""
        self._places.give_back()

    async def serve(self, transport: SocketTransport, proxy_protocol: bool) -> None:
        """Serve a client for whom a place was kept."""
        try:
            await self._proxy.serve(transport, proxy_protocol)
        finally:
            self._places.give_back()

    def make_room(self, *, descriptors: bool) -> bool:
        """Close connections that are idle; whether there will be room at once.

        Args:
            descriptors: those are what is wanted.
        """
        found = self.free_descriptors() if descriptors else self._proxy.let_idle_go() > 0
        if not found:
            self._tally.paused()
            if not descriptors and self._places.taken < self._most_here:
                self._places.want(trio.current_time())
        return found

    def free_descriptors(self) -> bool:
        """Close connections that are idle, to servers as well; whether there are any."""
        found = len(self._upstreams) + self._proxy.let_idle_go() > 0
        self._upstreams.close()
        return found

    async def make_room_for_others(self) -> Never:
        """Close idle connections where another process lacks places, until cancelled."""
        while True:
            await trio.sleep(_LOOK)
            if self._places.wanted(trio.current_time(), _WANTING):
                self._proxy.let_idle_go()


def _most_by_descriptors(*, halved: bool) -> int:
    """How many clients this process may have; half of that if each is to have a server as well."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    left = limit - len(os.listdir("/dev/fd")) - _RESERVE - min(_PIPES, limit // 8)
    return max(1, left // 2 if halved else left)
