"""The algorithms by which servers are picked."""

from __future__ import annotations

from enum import StrEnum


class Algorithm(StrEnum):
    """How a server is chosen for a request."""

    ROUND_ROBIN = "round_robin"
    WEIGHTED_ROUND_ROBIN = "weighted_round_robin"
    LEAST_CONNECTIONS = "least_connections"
    WEIGHTED_LEAST_CONNECTIONS = "weighted_least_connections"
    LEAST_RESPONSE_TIME = "least_response_time"
    WEIGHTED_LEAST_RESPONSE_TIME = "weighted_least_response_time"
