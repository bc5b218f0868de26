"""Write the tables of statistics in docs/reports.md, as the catalogue has them.

    python scripts/document_statistics.py [--check]

Each stands between `<!-- statistics: NAME -->` (or `columns: NAME`) and `<!-- end -->`. With
--check nothing is written, and the exit code is 1 if something would be.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from trio_lb.observe.catalogue import described
from trio_lb.observe.statistics import (
    Rates,
    ServerRates,
    ServerStatistics,
    Statistics,
    WorkerStatistics,
)
from trio_lb.observe.text import COLUMNS, WORKER_COLUMNS

DOCUMENT = Path(__file__).parent.parent / "docs" / "reports.md"

SNAPSHOTS = {
    "balancer": (Statistics, Rates),
    "server": (ServerStatistics, ServerRates),
    "worker": (WorkerStatistics,),
}


def statistics(name: str) -> str:
    """All of the balancer, of a server or of a worker, by their keys."""
    lines = ["| key | kind | unit | meaning |", "|---|---|---|---|"]
    for snapshot in SNAPSHOTS[name]:
        lines += (
            f"| `{key}` | {one.kind} | {one.unit or '-'} | {one.meaning} |"
            for key, one in described(snapshot).items()
        )
    return "\n".join(lines)


def columns(name: str) -> str:
    """Those that have a column in reports, in its order."""
    shown = COLUMNS if name == "server" else WORKER_COLUMNS
    headings = [column.heading for column in shown]
    meanings = {
        one.heading: one.meaning
        for snapshot in SNAPSHOTS[name]
        for one in described(snapshot).values()
    }
    lines = [f"| {heading} | {meanings[heading]} |" for heading in headings]
    return "\n".join(["| column | meaning |", "|---|---|", *lines])


def written(text: str) -> str:
    """The document with its tables as they should be."""
    between = re.compile(r"(<!-- (statistics|columns): (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

    def replaced(found: re.Match[str]) -> str:
        make = statistics if found[2] == "statistics" else columns
        return f"{found[1]}\n{make(found[3])}\n\n{found[4]}"

    return between.sub(replaced, text)


def main() -> int:
    """Write them, or see whether they are right."""
    before = DOCUMENT.read_text()
    after = written(before)
    if "--check" in sys.argv[1:]:
        return int(before != after)
    DOCUMENT.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
