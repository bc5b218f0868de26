"""Opens streams to servers: on an idle connection if there is one, else on a new one.

Used for requests, and for health checks, which keep no connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_lb.http.proxy_protocol import LOCAL, write_header

from .http1_stream import Http1UpstreamStream
from .resumed_stream import ResumedStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_lb.http.proxy_protocol import ProxyHeader
    from trio_lb.http1.codec import ServerCodec
    from trio_lb.net.dial import Dial
    from trio_lb.net.progress import Progress
    from trio_lb.net.transport import Transport
    from trio_lb.plan import RouteTimeouts, ServerPlan

    from .idle_pool import IdleConnections
    from .resumed_stream import BegunRequest
    from .stream import UpstreamStream


class Connector:
    """Opens streams to servers.

    Args:
        dial: how to connect to one.
        make_codec: makes what takes the messages of a stream apart.
        idle: connections that are kept from one request to the next; None: none is.
    """

    def __init__(
        self,
        dial: Dial,
        make_codec: Callable[[], ServerCodec],
        idle: IdleConnections | None = None,
    ) -> None:
        self._dial = dial
        self._make_codec = make_codec
        self._idle = idle

    async def open(
        self,
        server: ServerPlan,
        number: int,
        timeouts: RouteTimeouts,
        progress: Progress,
        ends: ProxyHeader = LOCAL,
        *,
        own: Transport | None = None,
        fresh: bool = False,
        max_idle: float | None = None,
        under_way: Transport | None = None,
    ) -> tuple[UpstreamStream, bool]:
        """A stream to a server, to be ended by its `release` or `close`.

        Args:
            server: where, and how it wants to be spoken to.
            number: what it is called among the idle connections.
            timeouts: how long connecting may take, and its answer.
            progress: the exchange's clock.
            ends: of the client's connection, for servers that get a PROXY header.
            own: a connection that is the client's own already, to be used.
            fresh: on a new connection.
            max_idle: seconds, where the caller must not risk an older connection.
            under_way: what the fast path has begun to connect; it is closed if it is not used.

        Returns:
            The stream, and whether its connection has served another request before.

        Raises:
            ConnectFailed: as `trio_lb.net.dial.Dialler` says; nothing is left open.
        """
        header = write_header(ends, server.send_proxy)
        transport = own
        if transport is None and not fresh and self._idle is not None:
            transport = self._idle.take(number, trio.current_time(), max_idle, header)
        reused = transport is not None
        if transport is None:
            transport = await self._dial(server.address, timeouts.connect, under_way)
        elif under_way is not None:
            under_way.close()
        stream = Http1UpstreamStream(
            transport,
            self._make_codec(),
            progress,
            timeouts.response,
            reused=reused,
            proxy_header=header,
            personal=own is not None,
            idle=self._idle,
            server=number,
        )
        return stream, reused

    def resume(
        self, begun: BegunRequest, number: int, timeouts: RouteTimeouts, progress: Progress
    ) -> UpstreamStream:
        """A stream to go on with a request that was begun on a connection without PROXY header.

        Args:
            begun: what was done of it.
            number: of the server among the idle connections.
            timeouts: how long its answer may take.
            progress: the exchange's clock.
        """
        codec = self._make_codec()
        return ResumedStream(begun, codec, progress, timeouts.response, self._idle, number)
