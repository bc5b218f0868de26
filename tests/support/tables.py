"""Tables in private memory, for tests and benchmarks."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from trio_lb.fast.table import Table, format_table, table_size

if TYPE_CHECKING:
    from collections.abc import Sequence


def table_memory(servers: int, rows: int = 1) -> mmap.mmap:
    """An empty table's memory."""
    memory = mmap.mmap(-1, table_size(servers, rows))
    format_table(memory, servers, rows)
    return memory


def table_of(weights: Sequence[int], max_connections: Sequence[int] | None = None) -> Table:
    """A table of servers with these weights and maxima (0: any number)."""
    table = Table(table_memory(len(weights)))
    for weight, most in zip(weights, max_connections or [0] * len(weights), strict=True):
        table.add(weight, most)
    return table
