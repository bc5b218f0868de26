"""The registry of algorithms and their classes. A new one is one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_lb.fast import table
from trio_lb.plan import Algorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHMS: Final[Mapping[Algorithm, type[table.Selection]]] = {
    Algorithm.ROUND_ROBIN: table.RoundRobin,
    Algorithm.WEIGHTED_ROUND_ROBIN: table.WeightedRoundRobin,
    Algorithm.LEAST_CONNECTIONS: table.LeastConnections,
    Algorithm.WEIGHTED_LEAST_CONNECTIONS: table.WeightedLeastConnections,
    Algorithm.LEAST_RESPONSE_TIME: table.LeastResponseTime,
    Algorithm.WEIGHTED_LEAST_RESPONSE_TIME: table.WeightedLeastResponseTime,
}
