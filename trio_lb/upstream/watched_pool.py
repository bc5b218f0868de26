"""The idle connections to servers that both paths share; see `trio_lb.upstream.idle_pool`.

They are kept in compiled code, where the fast path takes them without a Python object. Any event
on an idle connection closes it, so that none has to be polled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_lb.net.host_limits import watch_failed
from trio_lb.net.transport import SocketTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_lb.fast.loop import Server
    from trio_lb.net.transport import Transport


class WatchedPool:
    """The idle connections of this process, by server, for transports that have a socket.

    None of them begins with a PROXY header: what one says is not for all clients.

    Args:
        servers: by their table slots; they know how many idle ones are kept, and how long.
        max_idle: seconds after which an idle connection is closed.

    Attributes:
        servers: as above; others may be set.
    """

    def __init__(self, servers: Mapping[int, Server], max_idle: float) -> None:
        self.servers = servers
        self._max_idle = max_idle

    def take(
        self, server: int, now: float, max_idle: float | None = None, proxy_header: bytes = b""
    ) -> Transport | None:
        assert not proxy_header
        age = self._max_idle if max_idle is None else min(max_idle, self._max_idle)
        kept = self.servers.get(server)
        return None if kept is None else kept.take_transport(now - age)

    def put(self, server: int, transport: Transport, now: float, proxy_header: bytes = b"") -> None:
        assert isinstance(transport, SocketTransport)
        try:
            self.servers[server].keep_transport(transport, now)
        except OSError as exc:  # one connection less to reuse
            transport.close()
            watch_failed(exc)

    def expire(self, now: float) -> None:
        for server in self.servers.values():
            server.expire(now, self._max_idle)

    def keep_only(self, server: int, hosts: frozenset[str]) -> None:
        self.servers[server].keep_only(hosts)

    def drop(self, server: int) -> None:
        self.servers[server].close()

    def close(self) -> None:
        for server in self.servers.values():
            server.close()

    def __len__(self) -> int:
        return sum(server.idle for server in self.servers.values())
