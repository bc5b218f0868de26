"""What docs/threat-model.md names is there: each attack has an answer, each answer a proof."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.gateway import test_requests, test_responses

TESTS = Path(__file__).parent
ROOT = TESTS.parent
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "threat-model.md").read_text().splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| attack "))
]
CASES = {case.name for case in (*test_requests.CASES, *test_responses.CASES)}


@cache
def functions(path: Path) -> set[str]:
    """The names of the tests in a module."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, kinds)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_names_what_there_is(row: list[str]) -> None:
    _, answer, proofs = row
    for module in re.findall(r"`([\w/]+\.py)`", answer):
        assert (ROOT / "trio_lb" / module).is_file(), module
    named = re.findall(r"`([^`]+)`", proofs)
    assert named
    for proof in named:
        if proof.startswith("gateway: "):
            assert proof.removeprefix("gateway: ") in CASES
        else:
            path, _, test = proof.partition("::")
            assert test in functions(TESTS / path)


def test_there_are_rows() -> None:
    assert len(ROWS) > 50
