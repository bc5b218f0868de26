"""What holds for all tests of the proxy."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_bug_was_caught_and_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """`Proxy.serve` lets no exception out, but logs what should never have come so far."""
    yield
    errors = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert not errors, errors[0].exc_info
