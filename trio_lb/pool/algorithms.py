"""The registry: which class carries out which algorithm. A new one is one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_lb.fast.table import selection as _select
from trio_lb.plan import Algorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHMS: Final[Mapping[Algorithm, type[_select.Selection]]] = {
    Algorithm.ROUND_ROBIN: _select.RoundRobin,
    Algorithm.WEIGHTED_ROUND_ROBIN: _select.WeightedRoundRobin,
    Algorithm.LEAST_CONNECTIONS: _select.LeastConnections,
    Algorithm.WEIGHTED_LEAST_CONNECTIONS: _select.WeightedLeastConnections,
    Algorithm.LEAST_RESPONSE_TIME: _select.LeastResponseTime,
    Algorithm.WEIGHTED_LEAST_RESPONSE_TIME: _select.WeightedLeastResponseTime,
}
