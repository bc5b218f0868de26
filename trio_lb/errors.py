"""All exceptions: who caused a failure, and the status of the response to it.

Every exception of trio-lb derives from `TrioLBError`. The ones that end a request derive from
`RequestError` and carry the HTTP status of the response; whether another server may be tried is
decided in `trio_lb.proxy`, which knows the request's progress, from the class alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class End(StrEnum):
    """How a request ended: the words of the access log; docs/reports.md has their meanings."""

    OK = "ok"
    REFUSED = "refused"
    CLIENT_GONE = "client gone"
    CLIENT_SLOW = "client slow"
    NO_SERVER = "no server"
    CONNECT_FAILED = "connect failed"
    SERVER_BROKEN = "server broken"
    SERVER_CUT = "server cut"
    TIMEOUT = "timeout"
    TUNNEL_IDLE = "tunnel idle"
    CANCELLED = "cancelled"
    FAILED = "failed"


class TrioLBError(Exception):
    """Base of everything that trio-lb raises on purpose."""


class ListenError(TrioLBError):
    """A listen address could not be bound (in use, not permitted, not ours)."""


class RequestError(TrioLBError):
    """A request that ends with a response of trio-lb itself.

    Attributes:
        status: HTTP status of that answer.
        reason: what happened, for logs and the body; never contains what a client sent.
        end: the same in a word.
    """

    end: ClassVar[End] = End.REFUSED

    def __init__(self, reason: str, status: int = 500) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class ClientError(RequestError):
    """The client's fault: malformed, too large. Never retried."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason, status)


class ClientTooSlow(ClientError):  # noqa: N818
    """The client sent its request too slowly."""

    end = End.CLIENT_SLOW

    def __init__(self, reason: str) -> None:
        super().__init__(reason, 408)


class AnsweredHere(RequestError):  # noqa: N818
    """A request that asks us, and not a server: Max-Forwards is used up."""

    end = End.OK


class LoopDetected(RequestError):  # noqa: N818
    """A request that comes back here again and again (RFC 5842 section 7.2)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, 508)


class ClientGone(TrioLBError):  # noqa: N818 -- not an error: a fact
    """The client closed or reset its connection; there is nobody left to answer."""

    end: ClassVar[End] = End.CLIENT_GONE


class ClientGivenUp(ClientGone):
    """The client took its answer too slowly; nobody waits for it any longer."""

    end = End.CLIENT_SLOW


class ServerError(RequestError):
    """A server's fault. Subclasses say how far the request had come."""

    end = End.SERVER_BROKEN

    def __init__(self, reason: str, status: int = 502) -> None:
        super().__init__(reason, status)


class ConnectFailed(ServerError):  # noqa: N818
    """No connection: refused, unreachable, timed out. Nothing was sent; any method may go on.

    Attributes:
        local: it is no server's fault: this host lacks something, or knows no address.
        refused: nobody listens there, which was said at once.
    """

    end = End.CONNECT_FAILED

    def __init__(
        self, reason: str, status: int = 502, *, local: bool = False, refused: bool = False
    ) -> None:
        super().__init__(reason, status)
        self.local = local
        self.refused = refused


class HostLimit(ConnectFailed):
    """This host or process lacks something, which is no server's fault. One class for each kind.

    Attributes:
        advice: what is lacking and what helps, for logs.
        closing_helps: idle connections that are closed give back what is lacking.
        connected: it was lacking for a connection that exists, on which something may have been
            sent.
    """

    advice = ""
    closing_helps = True

    def __init__(self, reason: str, *, connected: bool = False) -> None:
        super().__init__(reason, 503, local=True)
        self.connected = connected


class OutOfDescriptors(HostLimit):
    """EMFILE, ENFILE."""

    advice = "out of file descriptors: raise the limit of open files, or lower limits.clients"


class OutOfPorts(HostLimit):
    """EADDRNOTAVAIL: all local ports for connections to one address are taken."""

    advice = (
        "out of local ports: raise net.ipv4.ip_local_port_range, or keep more connections "
        "(upstream.idle_connections)"
    )
    closing_helps = False  # what is closed here keeps its port for a minute (TIME_WAIT)


class OutOfMemory(HostLimit):
    """ENOMEM."""

    advice = "out of memory"


class OutOfBuffers(HostLimit):
    """ENOBUFS."""

    advice = "out of memory for sockets: raise net.ipv4.tcp_mem"


class OutOfWatches(HostLimit):
    """ENOSPC of epoll_ctl(2)."""

    advice = "out of epoll watches: raise fs.epoll.max_user_watches"


class NameUnresolved(ConnectFailed):
    """A server's name has no address: looking it up failed, or takes long. Nobody's fault.

    Attributes:
        missing: it is said that there is no such name.
    """

    def __init__(self, reason: str, status: int = 503, *, missing: bool = False) -> None:
        super().__init__(reason, status, local=True)
        self.missing = missing


class ResponseBroken(ServerError):  # noqa: N818
    """The connection broke, or what came was not HTTP, before a whole response head was read."""


class ConnectionStale(ResponseBroken):
    """A reused connection broke before the first byte of a response, or what came was there before
    the request, or is a 408 for the time before it: its server just closed it, or is about to."""


class ResponseTimeout(ServerError):  # noqa: N818
    """No response head within `timeout`.

    Attributes:
        since: from when on the server was waited for, on Trio's clock; None: unknown.
    """

    end = End.TIMEOUT

    def __init__(self, reason: str, since: float | None = None) -> None:
        super().__init__(reason, 504)
        self.since = since


class ResponseCut(ServerError):  # noqa: N818
    """The response broke after its head was passed on: the client's connection must be cut."""

    end = End.SERVER_CUT


class NoServer(RequestError):  # noqa: N818
    """Nobody is eligible: all dead, full, draining or already tried."""

    end = End.NO_SERVER
