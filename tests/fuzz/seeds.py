"""Where fuzzing begins: inputs kept in the repository, and the gateway suite's raw bytes."""

from __future__ import annotations

from pathlib import Path

from tests.gateway import test_requests, test_responses

CORPUS = Path(__file__).parent / "corpus"


def seeds(name: str) -> list[bytes]:
    """The inputs that a target begins with."""
    kept = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    if "requests" in name:
        kept += [case.raw for case in test_requests.CASES]
    elif "responses" in name:
        kept += [case.raw for case in test_responses.CASES]
    return kept
