"""The tables themselves: large, without doubles, and every case says by what right."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.gateway import test_requests, test_responses
from tests.gateway.cases import RequestCase, ResponseCase

if TYPE_CHECKING:
    from collections.abc import Sequence

Cases: TypeAlias = "Sequence[RequestCase] | Sequence[ResponseCase]"

SECTION = re.compile(r"[0-9]{4} (?:[A-Z]\.)?[0-9.]+")

tables = pytest.mark.parametrize(
    ("cases", "at_least"),
    [
        pytest.param(test_requests.CASES, 400, id="requests"),
        pytest.param(test_responses.CASES, 150, id="responses"),
    ],
)


@tables
def test_cases_are_many_and_each_is_there_once(cases: Cases, at_least: int) -> None:
    assert len(cases) >= at_least
    assert not [name for name, times in Counter(case.name for case in cases).items() if times > 1]
    asked = Counter(
        (case.raw, case.eof) if isinstance(case, RequestCase) else (case.ask, case.raw, case.then)
        for case in cases
    )
    assert not [raw for raw, times in asked.items() if times > 1]


@tables
def test_most_cases_name_their_section(cases: Cases, at_least: int) -> None:
    assert all(re.fullmatch(r"[a-z0-9.-]+", case.name) for case in cases)
    assert all(case.rfc for case in cases)
    assert sum(bool(SECTION.match(case.rfc)) for case in cases) > 0.8 * len(cases)
