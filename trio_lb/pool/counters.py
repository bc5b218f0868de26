"""Counters of clients and requests, of one process and of all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_lb.fast.table import Table


class SlowPathReason(IntEnum):
    """Why a request is served on the slow path. Its value is its index in the table."""

    SETTINGS = 0  # the profile, or the system, keeps it off the fast path
    UPGRADE = 1  # it asks for another protocol
    REQUEST = 2  # something else about it is unusual, its body included
    CLIENT = 3  # what the client sent can't be read as a request, or is over a limit
    NO_SERVER = 4  # no server could take it at once
    SERVER = 5  # its server can't be connected to, closed, or is late
    RESPONSE = 6  # something about the response is unusual


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCounters:
    """Client connections and their requests.

    Attributes:
        connections: client connections open now.
        connections_total: client connections ever accepted.
        classes: requests ended by the first digit of their status; index 0 for no answer at all.
        log_dropped: access log entries lost.
        refused: connections closed at once, since their address had too many.
        let_go: idle connections closed early, to make room for others.
        pauses: of accepting, at capacity.
        slow: requests served on the slow path, by SlowPathReason.
    """

    connections: int
    connections_total: int
    classes: tuple[int, ...]
    log_dropped: int
    refused: int
    let_go: int
    pauses: int
    slow: tuple[int, ...]

    @property
    def requests(self) -> int:
        """Requests ended, in whatever way."""
        return sum(self.classes)


class Counters:
    """Counts the clients of this process in its row of the table.

    Attributes:
        opened: call it for each client connection accepted. `closed`: when it has ended.
        ended: call it with the status of each request that is over; 0 for no answer at all.
        log_dropped: call it with how many access log entries were lost.
        refused: call it for each connection closed at once since its address had too many.
        let_go: call it for each idle connection closed early.
        paused: call it for each pause of accepting, at capacity.
        took_slow_path: call it with the SlowPathReason of each request that did.
    """

    __slots__ = (
        "_table", "closed", "ended", "let_go", "log_dropped", "opened", "paused", "refused",
        "took_slow_path",
    )  # fmt: skip

    def __init__(self, table: Table) -> None:
        self._table = table
        self.opened = table.client_opened
        self.closed = table.client_closed
        self.ended = table.request_ended
        self.log_dropped = table.log_dropped
        self.refused = table.client_refused
        self.let_go = table.client_let_go
        self.paused = table.accepting_paused
        self.took_slow_path = table.took_slow_path

    @property
    def connections(self) -> int:
        """Client connections that this process has open now."""
        return self.read(self._table.row).connections

    def read(self, row: int | None = None) -> ClientCounters:
        """The counts of all processes together, or of one row's process."""
        connections, total, classes, dropped, refused, let_go, pauses, slow = self._table.clients(
            row
        )
        return ClientCounters(
            connections=connections,
            connections_total=total,
            classes=classes,
            log_dropped=dropped,
            refused=refused,
            let_go=let_go,
            pauses=pauses,
            slow=slow,
        )
