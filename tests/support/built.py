"""Whether the fast path is among what the tests run with; see setup.py."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

FAST_PATH = find_spec("trio_lb.fast.exchange") is not None

WITHOUT = "this build has no fast path: see setup.py"

needs_fast_path = pytest.mark.skipif(not FAST_PATH, reason=WITHOUT)
