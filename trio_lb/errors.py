"""What can go wrong, said once: who caused it and which answer it deserves.

Every exception of trio-lb derives from `TrioLBError`. The ones that end a request derive from
`RequestError` and carry the HTTP status of the answer; whether another server may be tried is
decided where the request's progress is known (`trio_lb.proxy`), from the class alone.
"""

from __future__ import annotations


class TrioLBError(Exception):
    """Base of everything that trio-lb raises on purpose."""


class ListenError(TrioLBError):
    """A listen address could not be bound (in use, not permitted, not ours)."""


class RequestError(TrioLBError):
    """A request that ends with an answer of our own.

    Attributes:
        status: HTTP status of that answer.
        reason: what happened, for logs and the body; never contains what a client sent.
    """

    def __init__(self, reason: str, status: int = 500) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class ClientError(RequestError):
    """The client's fault: malformed, too large, too slow. Never retried."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason, status)


class AnsweredHere(RequestError):  # noqa: N818
    """A request that asks us, and not a server: Max-Forwards is used up."""


class ClientGone(TrioLBError):  # noqa: N818 -- not an error: a fact
    """The client closed or reset its connection; there is nobody left to answer."""


class ServerError(RequestError):
    """A server's fault. Subclasses say how far the request had come."""

    def __init__(self, reason: str, status: int = 502) -> None:
        super().__init__(reason, status)


class ConnectFailed(ServerError):  # noqa: N818
    """No connection: refused, unreachable, timed out. Nothing was sent; any method may go on.

    Attributes:
        local: this process is out of descriptors, ports or memory, which is no server's fault.
        refused: nobody listens there, which was said at once.
    """

    def __init__(
        self, reason: str, status: int = 502, *, local: bool = False, refused: bool = False
    ) -> None:
        super().__init__(reason, status)
        self.local = local
        self.refused = refused


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

    def __init__(self, reason: str, since: float | None = None) -> None:
        super().__init__(reason, 504)
        self.since = since


class ResponseCut(ServerError):  # noqa: N818
    """The response broke after its head was passed on: the client's connection must be cut."""


class NoServer(RequestError):  # noqa: N818
    """Nobody is eligible: all dead, full, draining or already tried."""
