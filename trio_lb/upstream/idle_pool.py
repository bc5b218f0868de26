"""Idle connections to servers, kept for the next request.

Last in, first out: the connection used most recently is the least likely to have been closed by
its server, and unneeded ones expire. Each is checked before it is used; the server may still close
it while the request is on its way, which the retry rules of `trio_lb.proxy` cover.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.net.transport import Transport


class IdleConnections(Protocol):
    """What keeps idle connections: `UpstreamPool`, or the one that the fast path shares."""

    def take(
        self, server: int, now: float, max_idle: float | None = None, proxy_header: bytes = b""
    ) -> Transport | None:
        """See `UpstreamPool`."""

    def put(self, server: int, transport: Transport, now: float, proxy_header: bytes = b"") -> None:
        """See `UpstreamPool`."""

    def expire(self, now: float) -> None:
        """See `UpstreamPool`."""

    def keep_only(self, server: int, hosts: frozenset[str]) -> None:
        """See `UpstreamPool`."""

    def drop(self, server: int) -> None:
        """See `UpstreamPool`."""

    def close(self) -> None:
        """See `UpstreamPool`."""

    def __len__(self) -> int:
        """How many there are, to all servers."""


class _Idle(NamedTuple):
    transport: Transport
    since: float
    proxy_header: bytes


class UpstreamPool:
    """The idle connections of this process, by server.

    A server is called by a number that is its own for as long as connections to it are kept.

    Args:
        limit: idle connections kept for each.
        max_idle: seconds after which an idle connection is closed.
        max_age: seconds after which a connection is not kept any longer, however busy it is.
    """

    def __init__(self, limit: int, max_idle: float, max_age: float = math.inf) -> None:
        self._idle: defaultdict[int, list[_Idle]] = defaultdict(list)
        self._limit = limit
        self._max_idle = max_idle
        self._max_age = max_age

    def take(
        self, server: int, now: float, max_idle: float | None = None, proxy_header: bytes = b""
    ) -> Transport | None:
        """The freshest idle connection to `server` that is still good, or None.

        Args:
            server: the number of the server.
            now: Trio's clock, seconds.
            max_idle: seconds, where the caller must not risk an older one.
            proxy_header: the PROXY header that it began with: what it told of a client can't be
                taken back, so it is for nobody else.
        """
        idle = self._idle[server]
        oldest = now - (self._max_idle if max_idle is None else min(max_idle, self._max_idle))
        for index in range(len(idle) - 1, -1, -1):
            if idle[index].since < oldest:
                return None  # so are all below it; `expire` closes them
            if idle[index].proxy_header != proxy_header:
                continue
            transport = idle.pop(index).transport
            if transport.peek() is None:
                return transport
            transport.close()
        return None

    def put(self, server: int, transport: Transport, now: float, proxy_header: bytes = b"") -> None:
        """Keep a connection whose last exchange is complete on both sides, unless it is too old.

        Over the limit the oldest one is closed: its client, if it is for one, may have left.
        """
        if now - transport.born >= self._max_age:
            transport.close()
            return
        idle = self._idle[server]
        idle.append(_Idle(transport, now, proxy_header))
        if len(idle) > self._limit:
            idle.pop(0).transport.close()

    def expire(self, now: float) -> None:
        """Close what is too old, or was closed by its server."""
        since, born = now - self._max_idle, now - self._max_age
        for server in tuple(self._idle):
            self._keep(
                server,
                lambda each: (
                    each.since >= since
                    and each.transport.born > born
                    and each.transport.peek() is None
                ),
            )

    def keep_only(self, server: int, hosts: frozenset[str]) -> None:
        """Close the idle connections to a server that lead to other addresses than these."""
        self._keep(server, lambda each: each.transport.peer in hosts)

    def _keep(self, server: int, good: Callable[[_Idle], bool]) -> None:
        kept = []
        for each in self._idle.pop(server, ()):
            if good(each):
                kept.append(each)
            else:
                each.transport.close()
        if kept:
            self._idle[server] = kept

    def drop(self, server: int) -> None:
        """Close all idle connections to a server that was marked down."""
        for each in self._idle.pop(server, ()):
            each.transport.close()

    def close(self) -> None:
        """Close them all."""
        for server in tuple(self._idle):
            self.drop(server)

    def __len__(self) -> int:
        return sum(map(len, self._idle.values()))
