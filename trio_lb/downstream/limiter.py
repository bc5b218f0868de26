"""The connection limiter: which clients are accepted, and which idle ones are closed for them.

The number of permits is `limits.clients` over all processes, or what the file descriptors of each
process allow. When all are taken, new clients wait in the listen queue, and the connections that
have been idle longest are closed for them: those between two requests, or before the first.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import TYPE_CHECKING, Any, Never, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_lb.plan import ConnectionLimits
    from trio_lb.pool import Counters, Permits

#: Descriptors kept for what is neither a client nor a server: logs, lookups of names; and the pipes
#: of the fast path, which can do with fewer.
_RESERVE = 16
_PIPES = 32

#: How often a process looks whether another one wants permits, and how long that holds; seconds.
_LOOK = 0.25
_WANTING = 0.5


class Clients(Protocol):
    """What the limiter needs of whatever serves the clients."""

    def evict_idle(self) -> int:
        """Close idle connections; returns how many."""


class IdleUpstreams(Protocol):
    """What the limiter needs of the idle connections to servers."""

    def __len__(self) -> int:
        """The number of idle connections."""

    def close(self) -> None:
        """Close them all."""


class ConnectionLimiter:
    """The limiter of one process.

    Args:
        limits: how many clients there may be.
        permits: shared by all processes.
        counters: of this process.
        upstreams: idle connections to servers, which are closed when descriptors run out.
        clients: whatever serves them.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        permits: Permits,
        counters: Counters,
        upstreams: IdleUpstreams,
        clients: Clients,
    ) -> None:
        self._most = sys.maxsize if limits.total is None else limits.total
        self._most_here = _most_by_descriptors(halved=limits.total is None)
        self._permits = permits
        self._counters = counters
        self._upstreams = upstreams
        self._clients = clients

    def try_acquire(self) -> str | None:
        """Acquire a permit for the next client; returns why there is none, else None."""
        if self._permits.taken >= self._most_here:
            return f"{self._most_here} clients are as many as the open files allow"
        if self._permits.take(self._most):
            return None
        return f"there are {self._most} clients (limits.clients)"

    def release(self) -> None:
        """Give back a permit that no client has used."""
        self._permits.give_back()

    async def serve(self, serve: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Serve a client that has a permit, by calling `serve`."""
        try:
            await serve(*arguments)
        finally:
            self._permits.give_back()

    def evict(self, *, descriptors: bool) -> bool:
        """Close idle connections; returns whether that makes room at once.

        Args:
            descriptors: file descriptors are needed, not permits.
        """
        found = self.free_descriptors() if descriptors else self._clients.evict_idle() > 0
        if not found:
            self._counters.paused()
            if not descriptors and self._permits.taken < self._most_here:
                self._permits.want(trio.current_time())
        return found

    def free_descriptors(self) -> bool:
        """Close idle connections, also those to servers; returns whether there were any."""
        found = len(self._upstreams) + self._clients.evict_idle() > 0
        self._upstreams.close()
        return found

    async def evict_for_others(self) -> Never:
        """Close idle connections where another process lacks permits, until cancelled."""
        while True:
            await trio.sleep(_LOOK)
            if self._permits.wanted(trio.current_time(), _WANTING):
                self._clients.evict_idle()


def _most_by_descriptors(*, halved: bool) -> int:
    """How many clients the descriptors allow; half as many if each may need a server's as well."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    left = limit - len(os.listdir("/dev/fd")) - _RESERVE - min(_PIPES, limit // 8)
    return max(1, left // 2 if halved else left)
