"""Cells as Markdown, to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.macro.results import FLOOR, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.macro.results import Cell


def render(cells: Sequence[Cell]) -> str:
    """Returns the cells as a table, a block of rows for each load."""
    head = ["load", "peer", "CPU µs", "per", f"× {REFERENCE}", f"× {FLOOR}", "× plain"]
    return markdown(
        [*head, "p50 ms", "p99 ms", "requests/s", "memory MiB", "valid runs", "errors"],
        [
            [
                cell.workload.name,
                cell.peer,
                number(cell.cost_us, 1),
                cell.workload.unit,
                number(cell.ratio, 2),
                number(cell.floor_ratio, 2),
                number(cell.plain_ratio, 2),
                number(cell.p50_ms, 2),
                number(cell.p99_ms, 2),
                number(cell.requests_per_second, 0),
                number(cell.memory_mib, 1),
                f"{cell.valid_runs}/{cell.runs}",
                str(cell.errors),
            ]
            for cell in cells
        ],
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown with columns as wide as they need to be."""
    lines = [head, ["---"] * len(head), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join("| " + " | ".join(map(str.ljust, line, widths)) + " |\n" for line in lines)


def number(value: float | None, digits: int) -> str:
    """Returns a number with so many digits after the point; a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"
