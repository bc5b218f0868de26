"""What holds for all tests of the proxy."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from trio_lb.http1.choice import codecs_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[True, False], ids=["compiled", "h11"])
def both_codecs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, where all is served by the slow path: with either codec."""
    codecs = codecs_for(fast_path=request.param)
    monkeypatch.setattr(rig, "codecs_for", lambda fast_path: codecs)


@pytest.fixture(autouse=True)
def _no_bug_was_caught_and_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """`Proxy.serve` lets no exception out, but logs what should never have come so far."""
    yield
    errors = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert not errors, errors[0].exc_info
