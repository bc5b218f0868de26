"""For all tests: how much hypothesis tries, how files are spread over processes, compiled code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.names import Names
from tests.support.time_limit import pytest_configure, pytest_runtest_protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["pytest_configure", "pytest_runtest_protocol"]

# Wherever it is set: hundreds of processes start here, and each would compile all that it imports,
# as pytest would compile all tests in each of its own.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Before a release; how long an example takes says more about the machine than about the code.
settings.register_profile("thorough", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# In every run: other examples each time, and what strangers send is fuzzed besides.
settings.register_profile("here", settings.get_profile("thorough"), max_examples=40)
# For a build that is many times slower, which is run to see what is reached (scripts/coverage.py).
settings.register_profile("traced", settings.get_profile("thorough"), max_examples=25)
settings.load_profile(os.environ.get("TRIO_LB_HYPOTHESIS", "here"))

#: Folders whose files take long begin first, so that none of them is left alone at the end.
_FIRST = ("chaos", "fuzz", "process", "gateway", "faults")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """The name servers of this test."""
    return Names(monkeypatch)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two processes more than there are processors, as many tests wait for other processes."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Count no lines where `no_cover` says so.

    In a process of pytest-xdist, pytest-cov measures twice, and stops only one of the two.
    """
    tracing = sys.gettrace()
    if tracing is None or item.get_closest_marker("no_cover") is None:
        return (yield)
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracing)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _place(item.path.parts))


def _place(parts: Sequence[str]) -> int:
    return next((_FIRST.index(part) for part in parts if part in _FIRST), len(_FIRST))
