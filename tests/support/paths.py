"""The two paths of a request, for tests that hold on both."""

from __future__ import annotations

import pytest

#: For a test with `fast_path: bool`: with the fast path, and with the slow one alone.
both_paths = pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "slow"])
