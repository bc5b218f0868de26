"""One health check: the request to a server, and what its response means."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import trio
from msgspec import structs

from trio_lb.errors import ConnectFailed, NameUnresolved, ResponseTimeout, ServerError
from trio_lb.http.forwarding import request_target
from trio_lb.http.via import PSEUDONYM
from trio_lb.net.deadlines import Deadline
from trio_lb.net.progress import Progress
from trio_lb.plan import RouteTimeouts

if TYPE_CHECKING:
    from trio_lb.http.heads import FieldLine
    from trio_lb.plan import HealthCheckPlan, ServerPlan
    from trio_lb.upstream.connector import Connector
    from trio_lb.upstream.stream import UpstreamStream

#: How much of an answer's body is read, and for how long: so that a server whose answer is an
#: ordinary one meets no reset. The head alone decides. Bytes, seconds.
_BODY_LIMIT = 64 * 1024
_BODY_SECONDS = 1.0


class Probe:
    """Asks servers whether they are healthy.

    Args:
        check: what is asked for, which statuses are healthy, and how long that may take.
        connector: opens streams to servers.
    """

    def __init__(self, check: HealthCheckPlan, connector: Connector) -> None:
        self._settings = check
        self._connector = connector
        self._timeouts = RouteTimeouts(connect=check.timeout, response=check.timeout)
        self._shown_port = f" on port {check.shown_port}" if check.shown_port else ""
        self._lines = [
            (name.encode("ascii"), value.encode("ascii")) for name, value in check.headers.items()
        ]

    async def __call__(self, server: ServerPlan) -> str | None:
        """What is wrong with a server, and which key has to do with it; None if it is healthy.

        Raises:
            ConnectFailed: this process is out of descriptors, ports or memory, or the server's
                name could not be looked up.
        """
        settings = self._settings
        deadline = Deadline(settings.timeout)
        address = server.address
        if settings.port is not None:
            address = replace(address, port=settings.port)
        try:
            stream, _ = await self._connector.open(
                structs.replace(server, address=address),
                0,
                self._timeouts,
                Progress(settings.timeout, None),
            )
            try:
                if not settings.enabled:
                    return None
                status = await self._ask(server, stream, deadline)
            finally:
                stream.close()
        except NameUnresolved as exc:
            if not exc.missing:
                raise
            return f"{exc.reason} (servers[].url)"
        except ConnectFailed as exc:
            if exc.local:
                raise
            return exc.reason
        except ResponseTimeout:
            within = f"health_check.timeout, {settings.timeout:g} s"
            return f"{self._asked(server)}: no answer within {within}"
        except ServerError as exc:
            return f"{self._asked(server)}: {exc.reason}"
        if settings.accepts(status):
            return None
        return (
            f"{self._asked(server)} answered {status}: set health_check.path, or "
            "health_check.statuses if that is healthy"
        )

    def _asked(self, server: ServerPlan) -> str:
        """What a server was asked, as people may be shown it."""
        address = server.address
        prefix = address.written or address.path  # the text of it where the environment has a part
        return f"{self._settings.method} {prefix}{self._settings.shown_path}{self._shown_port}"

    def _fields(self, server: ServerPlan) -> list[FieldLine]:
        host = self._settings.host or server.address.authority
        own = {name.lower() for name, _ in self._lines}
        lines = [
            (b"Host", host.encode("ascii")),
            (b"User-Agent", PSEUDONYM + b"-health-check"),
            (b"Accept", b"*/*"),
        ]
        return [
            *(line for line in lines if line[0].lower() not in own),
            *self._lines,
            (b"Connection", b"close"),
        ]

    async def _ask(self, server: ServerPlan, stream: UpstreamStream, deadline: Deadline) -> int:
        """The status of the final answer."""
        path = self._settings.path.encode("ascii")
        target = request_target(path, server.address.path.encode("ascii"))
        method = self._settings.method.encode("ascii")
        stream.begin_request(method, target, self._fields(server), [], [])
        await stream.send_rest([])
        stream.expect_answer(deadline.since)
        while (head := await stream.read_head()).status < 200:
            pass
        await _read_body(stream, deadline)
        return head.status


async def _read_body(stream: UpstreamStream, deadline: Deadline) -> None:
    """Read the body to its end, as far as it is short; whatever is wrong with it is nothing."""
    left = _BODY_LIMIT
    with (
        suppress(ServerError),
        trio.move_on_at(min(deadline.by, trio.current_time() + _BODY_SECONDS)),
    ):
        while True:
            parts, trailers = stream.available()
            left -= sum(map(len, parts))
            if trailers is not None or left <= 0:
                return
            await stream.receive_body()
