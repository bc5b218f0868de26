from collections.abc import Iterable
from typing import Self, final

from typing_extensions import disjoint_base

from trio_lb.fast.table.table import Table

@disjoint_base
class Selection:
    def __new__(cls, table: Table, slots: Iterable[int] | None = None) -> Self: ...
    def go_on_from(self, earlier: Selection) -> None: ...
    def pick(self, now: float, tried: tuple[int, ...] = ()) -> int | None: ...

@final
class RoundRobin(Selection): ...

@final
class WeightedRoundRobin(Selection): ...

@disjoint_base
class LeastConnections(Selection): ...

@final
class WeightedLeastConnections(LeastConnections): ...

@disjoint_base
class LeastResponseTime(Selection): ...

@final
class WeightedLeastResponseTime(LeastResponseTime): ...
