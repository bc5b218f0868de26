"""From runs of the whole-process benchmark to what is told: medians, ratios, verdicts, tables."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.macro import balancers, goals, plots, rates, table
from benchmarks.macro.load import Load
from benchmarks.macro.results import Cell, Run, Step, summarise
from benchmarks.macro.save import save
from benchmarks.macro.workloads import CLASS_LOADS, KIB, MIB, WORKLOADS, Workload, size

if TYPE_CHECKING:
    from pathlib import Path

LOAD = Load(
    requests=1000,
    bytes_read=10 * MIB,
    requests_per_second=100.0,
    p50_s=0.001,
    p99_s=0.010,
    errors=0,
)
SMALL = WORKLOADS["32B@64"]
RUN = Run(peer="haproxy", workload=SMALL, round=1, load=LOAD, cpu_s=0.02, memory=3 * MIB)
STEP = Step(peer="nginx", offered=2000, achieved=1500.4, errors=0, busy=0.25)


def cell(
    workload: str,
    peer: str,
    ratio: float | None,
    p50: float | None = 1.0,
    p99: float | None = 1.0,
) -> Cell:
    return Cell(
        peer=peer,
        workload=WORKLOADS[workload],
        valid_runs=1,
        runs=1,
        errors=0,
        cost_us=None if ratio is None else ratio * 20,
        ratio=ratio,
        floor_ratio=None,
        plain_ratio=None,
        p50_ms=1.0,
        p99_ms=2.0,
        p50_ratio=p50,
        p99_ratio=p99,
        requests_per_second=1.0,
        memory_mib=1.0,
    )


def rows(markdown: str) -> list[list[str]]:
    return [
        [field.strip() for field in line.strip("|").split("|")] for line in markdown.splitlines()
    ]


def test_sizes() -> None:
    assert [size(count) for count in (0, 32, 1000, KIB, 16 * KIB, MIB, 10 * MIB)] == [
        *("0B", "32B", "1000B", "1KiB", "16KiB", "1MiB", "10MiB")
    ]


def test_large_bodies_cost_by_the_mebibyte() -> None:
    assert RUN.cost_us == pytest.approx(20)
    large = replace(RUN, workload=WORKLOADS["1MiB@16"])
    assert large.cost_us == pytest.approx(2000)
    upload = replace(RUN, workload=WORKLOADS["upload@16"], load=replace(LOAD, bytes_read=0))
    assert upload.cost_us == pytest.approx(20)  # each request carries one
    assert replace(RUN, workload=WORKLOADS["POST@64"]).cost_us == pytest.approx(20)


def test_a_run_with_errors_or_without_answers_costs_nothing_known() -> None:
    for load in (replace(LOAD, errors=1), replace(LOAD, requests=0, bytes_read=0)):
        run = replace(RUN, load=load)
        assert not run.valid
        assert run.cost_us is None


def test_medians_leave_invalid_runs_out_and_ratios_are_within_a_round() -> None:
    ours = replace(RUN, peer="trio-lb")
    runs = [
        RUN,
        replace(RUN, round=2, cpu_s=0.04, load=replace(LOAD, p99_s=0.030)),
        replace(RUN, round=3, cpu_s=0.03, load=replace(LOAD, p99_s=0.020)),
        replace(RUN, round=4, cpu_s=9.0, load=replace(LOAD, errors=7)),
        replace(RUN, round=5, cpu_s=9.0, load=replace(LOAD, requests=0)),
        replace(ours, cpu_s=0.024),
        replace(ours, round=2, cpu_s=0.032, load=replace(LOAD, p99_s=0.036)),  # slow for both
        replace(ours, round=3, cpu_s=0.012, load=replace(LOAD, p50_s=0.002, p99_s=0.025)),
        replace(ours, round=4, cpu_s=0.001),
        replace(RUN, peer="direct", cpu_s=None, memory=None),
        replace(ours, workload=WORKLOADS["32B@1"]),
    ]
    haproxy, trio_lb, direct, single = summarise(runs)
    assert (haproxy.valid_runs, haproxy.runs, haproxy.errors) == (3, 5, 7)
    assert haproxy.cost_us == pytest.approx(30)
    assert (haproxy.ratio, haproxy.memory_mib) == (1, 3)
    assert haproxy.p99_ms == pytest.approx(20)
    assert (haproxy.p50_ratio, haproxy.p99_ratio) == (1, 1)
    assert trio_lb.cost_us == pytest.approx(18)
    assert trio_lb.ratio == pytest.approx(32 / 40)
    assert (trio_lb.p50_ms, trio_lb.p50_ratio) == (1, 1)
    assert [trio_lb.p99_ms, trio_lb.p99_ratio] == pytest.approx([17.5, 36 / 30])
    assert (direct.cost_us, direct.ratio, direct.memory_mib, direct.p50_ms) == (None, None, None, 1)
    assert (single.workload.connections, single.ratio, single.p50_ratio) == (1, None, None)


def test_the_table() -> None:
    runs = [RUN, replace(RUN, peer="nginx", load=replace(LOAD, errors=1))]
    head, rule, *body = rows(table.render(summarise(runs)))
    assert head[1:5] == ["peer", "CPU µs", "per", "× haproxy"]
    assert set("".join(rule)) == {"-"}
    assert [" ".join(row) for row in body] == [
        "32B@64 haproxy 20.0 request 1.00 - - 1.00 10.00 100 3.0 1/1 0",
        "32B@64 nginx - request - - - - - - - 0/1 1",
    ]


def test_the_floor_is_a_second_reference() -> None:
    runs = [RUN, replace(RUN, peer="floor", cpu_s=0.016)]
    assert [each.floor_ratio for each in summarise(runs)] == pytest.approx([1.25, 1])


def test_a_class_is_compared_to_the_peers_own_plain_request() -> None:
    plain = replace(RUN, workload=CLASS_LOADS["plain@64"])
    odd = replace(RUN, workload=CLASS_LOADS["te@64"], cpu_s=0.03)
    variant = replace(plain, peer="haproxy+unix", cpu_s=0.01)
    other = replace(odd, peer="nginx")
    ratios = [each.plain_ratio for each in summarise([plain, odd, variant, other])]
    assert ratios == [1, pytest.approx(1.5), 0.5, None]
    assert all(load.like in CLASS_LOADS for load in CLASS_LOADS.values())


def test_a_variant_is_compared_to_the_references_variant() -> None:
    ours = replace(RUN, peer="trio-lb+2", cpu_s=0.01)
    theirs = replace(RUN, peer="haproxy+2", cpu_s=0.04)
    assert [each.ratio for each in summarise([RUN, ours, theirs])] == [1, 0.25, 1]
    assert [each.ratio for each in summarise([RUN, ours])] == [1, 0.5]


def test_goals_are_about_loads_that_there_are() -> None:
    shown = {"upload@16", "chunked-upload@16", "close@64"}
    assert WORKLOADS.keys() - goals.COST.keys() == shown
    assert goals.COST.keys() <= WORKLOADS.keys()
    assert set(goals.LATENCY) <= WORKLOADS.keys()


def test_verdicts() -> None:
    verdicts = goals.judge(
        [
            cell("32B@64", "trio-lb", 0.954, p50=0.5, p99=1.025),
            cell("32B@64", "haproxy", 1.0),
            cell("32B@512", "trio-lb", 0.81, p50=9.0, p99=9.0),
            cell("32B@512", "haproxy", 1.0),
            cell("POST@64", "trio-lb", None, p50=None, p99=1.0),
            cell("POST@64", "haproxy", None),
            cell("32B@1", "trio-lb", 1.0),
            cell("16KiB@1", "haproxy", 1.0),
            cell("close@64", "trio-lb", 1.7),
            cell("close@64", "haproxy", 1.0),
        ]
    )
    assert rows(goals.render(verdicts))[2:] == [
        ["32B@64", "CPU", "0.95", "0.95", "yes"],
        ["32B@64", "p50", "0.50", "1.00", "yes"],
        ["32B@64", "p99", "1.02", "1.00", "no"],
        ["32B@512", "CPU", "0.81", "0.80", "no"],
        ["POST@64", "CPU", "-", "1.00", "no"],
        ["POST@64", "p50", "-", "1.00", "no"],
        ["POST@64", "p99", "1.00", "1.00", "yes"],
    ]


def test_the_table_of_rates() -> None:
    steps = [STEP, replace(STEP, peer="direct", achieved=2000.0, busy=None)]
    assert rows(rates.render(steps))[2:] == [
        ["nginx", "2000", "1500", "75%", "25%", "0"],
        ["direct", "2000", "2000", "100%", "-", "0"],
    ]


def test_results_are_kept_for_people_and_programs(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    save(folder, "macro", "Results", {"when": "now"}, "| table |\n", {"runs": [RUN]})
    assert (folder / "macro.md").read_text() == "# Results\n\n- when: now\n\n| table |\n"
    document = json.loads((folder / "macro.json").read_text())
    assert document["facts"] == {"when": "now"}
    assert document["runs"][0]["workload"] == {"kind": "GET", "body": 32, "connections": 64}


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the dependency group `benchmark`")
    nothing = replace(RUN, peer="direct", cpu_s=None, memory=None)
    plots.draw_macro(tmp_path, summarise([RUN, nothing]))
    plots.draw_rates(tmp_path, [STEP, replace(STEP, peer="direct", busy=None)])
    for name in ("cost", "latency", "rates"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_every_peer_has_a_colour() -> None:
    known = {*balancers.PEERS, *balancers.PROGRAMS, *balancers.BESIDES}
    assert known == set(plots.COLOURS)


def test_names_of_loads_are_told_apart() -> None:
    assert WORKLOADS["chunked@64"] == Workload("chunked", KIB, 64)
    assert WORKLOADS["upload@16"] == Workload("upload", 32, 16)
    assert WORKLOADS["chunked-upload@16"] == Workload("chunked-upload", 32, 16)
    assert WORKLOADS["close@64"] == Workload("close", 32, 64)
    assert all(workload.name == name for name, workload in WORKLOADS.items())
