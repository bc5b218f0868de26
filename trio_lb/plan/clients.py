"""Clients: identity, connection limits, timeouts and size limits."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import Literal, TypeAlias

from msgspec import Struct

TrustedNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network | Literal["unix"]
"""`unix` stands for everybody who comes by a unix socket, whom its permissions have let in."""


class ForwardedField(StrEnum):
    """Whether servers get the Forwarded field (RFC 7239) beside, or in place of, X-Forwarded-..."""

    OFF = "off"
    ON = "on"
    ONLY = "only"


class ClientTimeouts(Struct, frozen=True, kw_only=True):
    """How long a client may take.

    Attributes:
        head: until it has sent the whole head of a request, or a PROXY header.
        body: without any progress of a body, in either direction.
        keep_alive: how long its idle connection is kept.
        half_closed: how long a client that has sent its last byte is taken to read on, while its
            server says nothing.
    """

    head: float
    body: float
    keep_alive: float
    half_closed: float


class ClientLimits(Struct, frozen=True, kw_only=True):
    """How much a client may send on one connection, and how slowly.

    Attributes:
        head: request line and field lines together.
        fields: number of field lines.
        target: the request's target.
        min_rate: bytes per second of a body, at least.
        requests: on one connection.
    """

    head: int
    fields: int
    target: int
    min_rate: int | None
    requests: int | None


class ConnectionLimits(Struct, frozen=True, kw_only=True):
    """How many client connections there may be at one time, over all workers.

    Attributes:
        total: of all clients.
        per_address: from one IPv4 address or one /64 network of IPv6.
    """

    total: int | None
    per_address: int | None


class IdentityPlan(Struct, frozen=True, kw_only=True):
    """Whose word counts about who a client is, and what servers are told.

    Attributes:
        trusted_proxies: networks, as `TrustedNetwork` is written.
        forwarded: whether servers get the Forwarded field.
    """

    trusted_proxies: tuple[str, ...]
    forwarded: ForwardedField

    def networks(self) -> list[TrustedNetwork]:
        """The networks of the proxies that are believed."""
        return [
            "unix" if network == "unix" else ipaddress.ip_network(network)
            for network in self.trusted_proxies
        ]


class ClientPlan(Struct, frozen=True, kw_only=True):
    """All that holds for clients before it is known what they want."""

    timeouts: ClientTimeouts
    limits: ClientLimits
    connections: ConnectionLimits
    identity: IdentityPlan
