"""What the compiled modules that the tests run with were built for."""

from __future__ import annotations

import os
import sys

import pytest

#: Other systems than Linux; setup.py says the same.
PORTABLE = sys.platform != "linux" or os.environ.get("TRIO_LB_PORTABLE") == "1"

WITHOUT = "this build has no epoll, no splice, and no count of unsent bytes: see setup.py"

linux_only = pytest.mark.skipif(PORTABLE, reason=WITHOUT)
