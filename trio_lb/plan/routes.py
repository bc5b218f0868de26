"""Routes: which pool serves a request, and how it is forwarded."""

from __future__ import annotations

from msgspec import Struct


class ErrorPage(Struct, frozen=True):
    """What is sent as the body of an error answer, and as what."""

    content_type: str
    body: bytes


class RouteTimeouts(Struct, frozen=True, kw_only=True):
    """How long a server may take.

    Attributes:
        connect: until a connection to it is made.
        response: from the request being sent to the first byte of the response.
    """

    connect: float
    response: float


class TunnelTimeouts(Struct, frozen=True, kw_only=True):
    """How long a tunnel may be silent.

    Attributes:
        idle: without a byte in either direction.
        half_closed: the same when one side of it has ended, and the other has not.
    """

    idle: float
    half_closed: float


class RoutePlan(Struct, frozen=True, kw_only=True):
    """How requests are forwarded.

    Attributes:
        pool: name of the pool that serves them.
        timeouts: of the servers.
        tunnel: timeouts of tunnels.
        retries: how many other servers are tried after a failure.
        body_limit: largest body of a request.
        replay_body: largest body that is kept, so that the request can be retried.
        unavailable_status: answered when no server can take a request.
        error_pages: sent in place of the short text of an error answer, by status.
    """

    pool: str
    timeouts: RouteTimeouts
    tunnel: TunnelTimeouts
    retries: int
    body_limit: int | None
    replay_body: int
    unavailable_status: int
    error_pages: dict[int, ErrorPage]
