"""A request and its answer, from the first byte to the last: what is known of it on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trio_lb.errors import End

if TYPE_CHECKING:
    from trio_lb.http.admission import AdmittedRequest

    from .blame import Inquiry
    from .body import RequestBody
    from .client import ClientConnection


#: nginx's status for "the client left before it had its answer"; seen in logs only.
CLIENT_GONE = 499


class Try(NamedTuple):
    """One attempt with one server.

    Attributes:
        server: its slot.
        outcome: `ok`, or what went wrong.
        seconds: how long it took.
        reused: the connection came from the pool.
    """

    server: int
    outcome: str
    seconds: float
    reused: bool


class Account(NamedTuple):
    """What is known of a request that the fast path has had: see `Exchange`."""

    tries: list[Try]
    status: int
    bytes_sent: int
    bytes_received: int
    request_id: bytes


class Exchange:
    """What the parts of the slow path share about one request.

    Attributes:
        client: whose request it is.
        request: what was admitted.
        body: its body.
        request_id: the client's own or ours.
        started: when its head was complete, on Trio's clock.
        status: of the answer, 0 while there is none.
        bytes_sent: of the answer's body, or of what came behind a 101.
        bytes_tunnelled: what the client sent behind a 101.
        end: how it ended, as far as no exception says so: `OK`, or how a tunnel did.
        ended: the same for people: `ok`, or why what came behind a 101 was cut.
        left: why its client is known to have left; empty: it is not.
        tries: the attempts so far.
        inquiry: into the failures of servers, if there were any.
    """

    __slots__ = (
        "body", "bytes_sent", "bytes_tunnelled", "client", "end", "ended", "inquiry",
        "left", "request", "request_id", "started", "status", "tries",
    )  # fmt: skip

    def __init__(
        self,
        client: ClientConnection,
        request: AdmittedRequest,
        body: RequestBody,
        request_id: bytes,
        started: float,
    ) -> None:
        self.client = client
        self.request = request
        self.body = body
        self.request_id = request_id
        self.started = started
        self.status = 0
        self.bytes_sent = 0
        self.bytes_tunnelled = 0
        self.end = End.OK
        self.ended = "ok"
        self.left = ""
        self.tries: list[Try] = []
        self.inquiry: Inquiry | None = None

    @property
    def bytes_received(self) -> int:
        """Bytes that the client sent behind the head of its request."""
        return self.body.size + self.bytes_tunnelled

    def note(self, server: int, outcome: str, seconds: float, reused: bool) -> None:
        """Remember how an attempt ended."""
        self.tries.append(Try(server, outcome, seconds, reused))
