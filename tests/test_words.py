"""Words that were given up for the field's own are not written any more; see CONTRIBUTING.md."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: What is not written, as a regular expression, and what is written instead.
GIVEN_UP = {
    r"(?i:plain|general) roads?|\broads?\b": "fast path, slow path",
    r"\bpav(?:e|ing)\b|\bPaving\b": "build_fast_path, its parts",
    r"Plain(?:Road|Client|Exchange|Request|Response)": "FastPath, ClientSide, Exchange, Parsed...",
    r"(?:NOT_|UN)PLAIN": "FALLBACK, SLOW_ONLY",
    r"\bBegun\b": "ResumedRequest",
    r"\bDoor\b|take_place|give_place_back": "ConnectionLimiter, try_acquire, release",
    r"let_idle_go|make_room\b": "evict_idle, evict",
    r"\btake_out\b|\bbring_back\b": "mark_down, mark_up",
    r"(?i:\bkeepers?\b)|\bstand_in\b": "WorkerMonitor, cover_for",
    r"\bTally\b": "Counters",
    r"\bannounced\b": "proxy_header",
    r"\bgoes over\b": "overrides",
    r"\bpassed over\b": "ignored",
    r"\bfor want of\b": "at capacity, because it lacks",
    r"\berrors for people\b": "actionable errors",
}

#: What was written once stays, and these lists have to say the words.
EXCEPT = {"CHANGELOG.md", "tests/test_words.py"}


def texts() -> dict[str, str]:
    """All that is written by hand here, by path."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.pyi", "*.pyx", "*.pxi", "*.pxd", "*.h", "*.md", "Makefile"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not in a repository")
    paths = set(listed.stdout.splitlines()) - EXCEPT
    kept = [path for path in paths if not path.startswith(("docs/benchmarks", "tests/data"))]
    return {path: (ROOT / path).read_text() for path in kept if (ROOT / path).exists()}


@pytest.mark.parametrize("words", GIVEN_UP)
def test_words_that_were_given_up(words: str) -> None:
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for path, text in texts().items()
        for match in re.finditer(words, text)
    ]
    assert not found, f"instead: {GIVEN_UP[words]}"


def test_they_are_found() -> None:
    assert re.search(next(iter(GIVEN_UP)), "on the plain road")
    assert all(re.compile(words) for words in GIVEN_UP)
    assert len(texts()) > 300
