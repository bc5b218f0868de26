from typing import Self, final

from trio_lb.fast.table.table import Table

@final
class Failures:
    def __new__(cls, table: Table) -> Self: ...
    def add(
        self,
        slot: int,
        life: int,
        now: float,
        client: int,
        confirmed: bool,
        since: float | None = None,
    ) -> tuple[int, int, bool, int, bool] | None: ...
