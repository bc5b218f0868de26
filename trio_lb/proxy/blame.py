"""Whose fault a failure was, once it is known what the same request did on other servers.

A failure that followed a request from server to server is the request's, and counts against none
of them. If another server answered the request, the failure is its server's. If there was no other
server to compare, it takes failures of several clients' requests to mark one down:
`trio_lb.pool.evidence` has the numbers.

If nothing was sent, as with a refused connection, there is nothing to judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import trio

from trio_lb.downstream.address_limit import address_number
from trio_lb.errors import ResponseTimeout
from trio_lb.http.identity import UNIX

if TYPE_CHECKING:
    from trio_lb.errors import ServerError
    from trio_lb.pool import Member, Reservation, ServerPool

#: Numbers that clients are told apart by: a prime, so that those of all addresses differ.
_CLIENTS = 65521
_BEHIND_UNIX_SOCKETS = 0xFFFF

#: An answer with such a status does not show that a request can be answered.
_FAILED = 500


class _Failure(NamedTuple):
    server: Member
    life: int
    reason: str
    since: float | None


class Inquiry:
    """The failures of one request.

    Args:
        servers: the pool that it was sent to.
        client: whose it is: an IP address, or `unix:`.
    """

    __slots__ = ("_client", "_open", "_servers")

    def __init__(self, servers: ServerPool, client: str) -> None:
        self._servers = servers
        self._client = client
        self._open: list[_Failure] = []

    def failed(self, reservation: Reservation, failure: ServerError) -> None:
        """A server that was sent the request has failed."""
        since = failure.since if isinstance(failure, ResponseTimeout) else None
        now = trio.current_time()
        reservation.failed(now, 0.0 if since is None else max(now - since, 0.0))
        self._open.append(_Failure(reservation.member, reservation.life, failure.reason, since))

    def answered(self, status: int) -> None:
        """A server has answered the request. If it did any better, those before it failed."""
        failures, self._open = self._open, []
        if status < _FAILED:
            for failure in failures:
                self._count(failure, confirmed=True)

    def close(self) -> None:
        """The request is over. If several servers failed and none did better, it was its fault."""
        failures, self._open = self._open, []
        if len(failures) == 1:
            self._count(failures[0], confirmed=False)

    def _count(self, failure: _Failure, *, confirmed: bool) -> None:
        server, life, reason, since = failure
        evidence = self._servers.suspect(
            server, life, trio.current_time(), _number(self._client), confirmed, since
        )
        if evidence is not None and evidence.enough:
            reason = f"{evidence.in_a_row} failures in a row, last: {reason}"
            self._servers.mark_down(server, reason, keep_last=True)


def _number(client: str) -> int:
    """A number from 1 to 65535 that stands for a client: all of an IPv6 /64 are one."""
    if client == UNIX:
        return _BEHIND_UNIX_SOCKETS
    return 1 + address_number(client) % _CLIENTS
