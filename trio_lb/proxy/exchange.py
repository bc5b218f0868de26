"""One request and its response: what is known of it on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_lb.downstream.stream import ClientStream
    from trio_lb.http.admission import AdmittedRequest
    from trio_lb.observe.record import Record

    from .blame import Inquiry
    from .body import RequestBody
    from .client import Client


class Exchange:
    """What the parts of the slow path share about one request.

    Attributes:
        client: whose request it is.
        stream: the request and its answer, as the client has them.
        request: what was admitted.
        body: its body.
        record: what is kept of it.
        started: when its head was complete, on Trio's clock.
        bytes_tunnelled: what the client sent behind a 101.
        left: why its client is known to have left; empty: it is not.
        inquiry: into the failures of servers, if there were any.
    """

    __slots__ = (
        "body", "bytes_tunnelled", "client", "inquiry", "left", "record", "request", "started",
        "stream",
    )  # fmt: skip

    def __init__(
        self,
        client: Client,
        stream: ClientStream,
        request: AdmittedRequest,
        body: RequestBody,
        record: Record,
        started: float,
    ) -> None:
        self.client = client
        self.stream = stream
        self.request = request
        self.body = body
        self.record = record
        self.started = started
        self.bytes_tunnelled = 0
        self.left = ""
        self.inquiry: Inquiry | None = None

    @property
    def repeatable(self) -> bool:
        """It may be sent twice, and can be: all that came of its body is remembered."""
        return self.request.idempotent and self.body.replayable

    @property
    def bytes_received(self) -> int:
        """Bytes that the client sent behind the head of its request."""
        return self.body.size + self.bytes_tunnelled
