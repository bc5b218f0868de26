"""A server's states, and notifications of changes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from trio_lb.fast import table

if TYPE_CHECKING:
    from trio_lb.pool.members import Member


class State(IntEnum):
    """A server that is full is alive: its maximum is no state, it ends with the next release."""

    ALIVE = table.ALIVE
    DEAD = table.DEAD
    DRAINING = table.DRAINING
    """Gets no new requests; those it has are finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """A server's move from one state to another, told to whoever asked to be notified."""

    member: Member
    old: State
    new: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCounters:
    """What a server has done so far.

    Attributes:
        index: its number among the members.
        active: requests it has at this moment.
        served: exchanges completed.
        bytes_received: from the server. `bytes_sent`: to it.
        response_time_s: moving average of the time to the first byte of a response, in seconds;
            None when nothing was measured since it last came alive.
        p50_s, p99_s: quantiles of the same over all time, within 12.5 %; None when nothing was
            measured.
        max_connections: 0 means any number.
    """

    index: int
    state: State
    active: int
    served: int
    failed: int
    bytes_received: int
    bytes_sent: int
    response_time_s: float | None
    p50_s: float | None
    p99_s: float | None
    weight: int
    max_connections: int
