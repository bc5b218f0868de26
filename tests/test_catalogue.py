"""One table of statistics: what follows from it is there, and says the same."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest

from scripts.document_statistics import DOCUMENT, SNAPSHOTS, statistics, written
from tests.support.sample_statistics import server_statistics, worker_statistics
from tests.support.sample_statistics import statistics as sample
from trio_lb.observe.catalogue import described
from trio_lb.observe.save import json_report
from trio_lb.observe.statistics import Rates
from trio_lb.observe.text import COLUMNS, WORKER_COLUMNS


def keys(name: str) -> list[str]:
    """The statistics of the balancer, a server or a worker."""
    return [key for snapshot in SNAPSHOTS[name] for key in described(snapshot)]


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_every_field_is_described(name: str) -> None:
    found = {field.name for snapshot in SNAPSHOTS[name] for field in fields(snapshot)}
    assert found - {"servers", "workers"} <= set(keys(name))


def test_the_keys_of_saved_reports_are_those_of_the_table() -> None:
    shown = sample(server_statistics(), workers=(worker_statistics(),))
    saved: dict[str, Any] = json.loads(
        json_report(datetime.now(UTC), shown, Rates.between(None, shown))
    )
    [server], [worker] = saved.pop("servers"), saved.pop("workers")
    assert set(saved) == {"time", *keys("balancer")}
    assert list(server) == keys("server")
    assert list(worker) == keys("worker")


def test_every_heading_has_its_column() -> None:
    for name, columns in (("server", COLUMNS), ("worker", WORKER_COLUMNS)):
        headings = {
            one.heading for snapshot in SNAPSHOTS[name] for one in described(snapshot).values()
        }
        assert headings - {""} == {column.heading for column in columns}


def test_the_documentation_has_the_table() -> None:
    """If not: python scripts/document_statistics.py"""
    text = DOCUMENT.read_text()
    assert written(text) == text
    assert text.count("<!-- statistics: ") == text.count("<!-- end -->") - 2 == 3
    assert "| `uptime_s` | gauge | s |" in statistics("balancer")
