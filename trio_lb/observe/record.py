"""The outcome of a request: one record, filled on the way and read when the request is over.

Statistics and the access log read the same one.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import msgspec

from trio_lb.errors import End
from trio_lb.http.heads import RequestHead  # noqa: TC001 -- msgspec looks at it

#: nginx's status for "the client left before it had its answer"; seen in logs only.
CLIENT_GONE = 499


class Attempt(NamedTuple):
    """One attempt with one server.

    Attributes:
        server: its name.
        outcome: "ok", or what went wrong.
        duration_s: how long it took.
        reused: it went over a kept connection.
    """

    server: str
    outcome: str
    duration_s: float
    reused: bool


class Record(msgspec.Struct, kw_only=True):
    """One request and its answer.

    Attributes:
        began: when its first byte came, on Trio's clock.
        client: IP address without port, as far as we were told by those who are trusted; "unix:".
        head: as the client sent it; None where it could not be read.
        request_id: `X-Request-ID`, the client's own or ours; empty where the request was refused.
        server: name of the server whose answer it is; None while, or where, there is no such.
        status: of the answer, 0 while there is none; 499 where the client left without one.
        bytes_sent: body bytes to the client, those of our own answers too; those of a tunnel.
        bytes_received: body bytes from the client; those of a tunnel.
        attempts: all of them, in their order.
        ended: how it ended.
        reason: the same as a sentence; "ok" if it is.
        duration_s: from its first byte to the last of the answer. Known when it is over, like
        time: when its first byte came, in seconds since the epoch.
    """

    began: float
    client: str
    head: RequestHead | None = None
    request_id: bytes = b""
    server: str | None = None
    status: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    attempts: list[Attempt] = []
    ended: End = End.CANCELLED
    reason: str = "cancelled"
    duration_s: float = 0.0
    time: float = 0.0

    def attempted(self, server: str, outcome: str, duration_s: float, reused: bool) -> None:
        """An attempt has ended."""
        self.attempts.append(Attempt(server, outcome, duration_s, reused))

    def answered(self, server: str, status: int) -> None:
        """A server's answer begins."""
        self.server = server
        self.status = status

    def over(self, now: float) -> None:
        """The request is over.

        Args:
            now: Trio's time.
        """
        self.duration_s = now - self.began
        self.time = time.time() - self.duration_s
