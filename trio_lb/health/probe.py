"""One health check: what a server is asked, and what its answer means."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from trio_lb.errors import ConnectFailed, NameUnresolved, ServerError
from trio_lb.http.forwarding import request_target
from trio_lb.http.heads import ResponseHead
from trio_lb.http.proxy_protocol import LOCAL, write_header
from trio_lb.http.via import PSEUDONYM
from trio_lb.http1.h11_codec import NEED_DATA, ServerCodec, Signal
from trio_lb.net.deadlines import Deadline
from trio_lb.net.transport import TimedOut, TransportBroken, receive, send

if TYPE_CHECKING:
    from trio_lb.http.heads import FieldLine
    from trio_lb.net.dial import Dial
    from trio_lb.net.transport import Transport
    from trio_lb.plan import HealthCheckPlan, ServerPlan

#: How much of an answer's body is read, and for how long: so that a server whose answer is an
#: ordinary one meets no reset. The head alone decides. Bytes, seconds.
_BODY_LIMIT = 64 * 1024
_BODY_SECONDS = 1.0


class Probe:
    """Asks servers whether they are healthy.

    Args:
        check: what is asked for, which statuses are healthy, and how long that may take.
        dial: how to connect to a server.
    """

    def __init__(self, check: HealthCheckPlan, dial: Dial) -> None:
        self._settings = check
        self._dial = dial
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
            transport = await self._dial(address, settings.timeout)
            try:
                if not settings.enabled:
                    return None
                head = await self._ask(server, transport, deadline)
            finally:
                transport.close()
        except NameUnresolved as exc:
            if not exc.missing:
                raise
            return f"{exc.reason} (servers[].url)"
        except ConnectFailed as exc:
            if exc.local:
                raise
            return exc.reason
        except ServerError as exc:
            return f"{self._asked(server)}: {exc.reason}"
        except TransportBroken as exc:
            return f"{self._asked(server)}: connection broke: {exc}"
        except TimedOut:
            within = f"health_check.timeout, {settings.timeout:g} s"
            return f"{self._asked(server)}: no answer within {within}"
        if settings.accepts(head.status):
            return None
        return (
            f"{self._asked(server)} answered {head.status}: set health_check.path, or "
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

    async def _ask(
        self, server: ServerPlan, transport: Transport, deadline: Deadline
    ) -> ResponseHead:
        codec = ServerCodec()
        path = self._settings.path.encode("ascii")
        target = request_target(path, server.address.path.encode("ascii"))
        method = self._settings.method.encode("ascii")
        head = codec.request(method, target, self._fields(server))
        request = write_header(LOCAL, server.send_proxy) + head + codec.end([])
        await send(transport, request, deadline.by - trio.current_time())
        while True:
            answer = codec.read_head()
            if isinstance(answer, ResponseHead):
                if answer.status >= 200:
                    await _read_body(codec, transport, deadline)
                    return answer
            else:
                codec.feed(await receive(transport, deadline.by))


async def _read_body(codec: ServerCodec, transport: Transport, deadline: Deadline) -> None:
    """Read the body to its end, as far as it is short; whatever is wrong with it is nothing."""
    until = min(deadline.by, trio.current_time() + _BODY_SECONDS)
    left = _BODY_LIMIT
    try:
        while left > 0:
            part = codec.read_body()
            if part is NEED_DATA:
                codec.feed(await receive(transport, until))
            elif isinstance(part, Signal):
                return
            else:
                left -= len(part)
    except (ServerError, TransportBroken, TimedOut):
        pass
