"""Results as pictures, if matplotlib is installed (dependency group `benchmark`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.macro.results import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.macro.results import Cell, Step

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True
    mpl.use("Agg")

#: The same colour for a peer in every picture.
COLOURS = {
    "trio-lb": "#d62728",
    "trio-lb-slow": "#ff9896",
    "trio-lb+combined": "#8c6d31",
    "trio-lb+json": "#e7ba52",
    "trio-lb+fresh": "#e377c2",
    "trio-lb+fresh-named": "#f7b6d2",
    "trio-lb+fresh-slow": "#c49c94",
    "trio-lb+forwarded": "#ad494a",
    "trio-lb+send_proxy": "#d6616b",
    "trio-lb+named": "#e7969c",
    "trio-lb+unix": "#843c39",
    "trio-lb+2": "#a55194",
    "haproxy+send_proxy": "#3182bd",
    "haproxy+named": "#6baed6",
    "haproxy+unix": "#9ecae1",
    "haproxy+2": "#c6dbef",
    "haproxy": "#1f77b4",
    "haproxy-same": "#aec7e8",
    "nginx": "#2ca02c",
    "haproxy-new": "#17becf",
    "nginx-new": "#98df8a",
    "pingora": "#bcbd22",
    "envoy": "#393b79",
    "caddy": "#637939",
    "floor": "#000000",
    "aiohttp": "#9467bd",
    "bare_relay": "#c5b0d5",
    "balrs": "#8c564b",
    "direct": "#7f7f7f",
}


def draw_macro(directory: Path, cells: Sequence[Cell]) -> None:
    """Draws what requests cost (cost.png) and how long they take (latency.png)."""
    if not _available():
        return
    figure = Figure(figsize=(12, 5), layout="constrained")
    axes = figure.subplots()
    _bars(axes, cells, lambda cell: cell.ratio)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel(f"CPU time × {REFERENCE}'s")
    axes.set_title("CPU time per request (1 and 10 MiB, upload: per MiB); lower is better")
    figure.savefig(directory / "cost.png", dpi=110)

    figure = Figure(figsize=(12, 8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    _bars(upper, cells, lambda cell: cell.p50_ms)
    _bars(lower, cells, lambda cell: cell.p99_ms)
    for axes, label in ((upper, "p50, ms"), (lower, "p99, ms")):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylabel(label)
    upper.set_title("Latency in a closed loop; lower is better")
    figure.savefig(directory / "latency.png", dpi=110)


def _bars(axes: Axes, cells: Sequence[Cell], value: Callable[[Cell], float | None]) -> None:
    """Draws a group of bars for each load; peers without a value have none."""
    loads = list(dict.fromkeys(cell.workload.name for cell in cells))
    peers = list(dict.fromkeys(cell.peer for cell in cells if value(cell) is not None))
    width = 0.8 / max(1, len(peers))
    for number, peer in enumerate(peers):
        known = {cell.workload.name: value(cell) for cell in cells if cell.peer == peer}
        bars = [
            (place + (number - (len(peers) - 1) / 2) * width, height)
            for place, load in enumerate(loads)
            if (height := known.get(load)) is not None
        ]
        axes.bar(
            [place for place, _ in bars],
            [height for _, height in bars],
            width,
            label=peer,
            color=COLOURS[peer],
        )
    axes.set_xticks(range(len(loads)), loads)
    axes.legend(ncols=max(1, min(len(peers), 7)), fontsize="small")
    axes.grid(axis="y", alpha=0.3)


def draw_rates(directory: Path, steps: Sequence[Step]) -> None:
    """Draws offered against achieved requests, and what they take of the core (rates.png)."""
    if not _available():
        return
    figure = Figure(figsize=(12, 5.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    offered = sorted({step.offered for step in steps})
    left.plot(offered, offered, color="black", linewidth=0.8, linestyle=":", label="as offered")
    for peer in dict.fromkeys(step.peer for step in steps):
        own = [step for step in steps if step.peer == peer]
        line = {"color": COLOURS[peer], "marker": "o", "markersize": 4, "label": peer}
        left.plot([step.offered for step in own], [step.achieved for step in own], **line)
        busy = [(step.offered, step.busy * 100) for step in own if step.busy is not None]
        if busy:
            right.plot([rate for rate, _ in busy], [share for _, share in busy], **line)
    left.set_ylabel("achieved, requests/s")
    left.set_title("Throughput (direct: load and servers alone)")
    right.set_ylabel("of one core, %")
    right.set_title("CPU time of the balancer")
    for axes in (left, right):
        axes.set_xlabel("offered, requests/s")
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    figure.savefig(directory / "rates.png", dpi=110)


def _available() -> bool:
    if not AVAILABLE:
        print("no pictures: matplotlib is not installed")
    return AVAILABLE
