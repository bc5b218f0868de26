"""The stubs of the compiled modules say what the compiled modules are."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.support.built import FAST_PATH

ROOT = Path(__file__).parent.parent


def test_stubs_match_the_compiled_modules() -> None:
    sources = (ROOT / "ext").rglob("*.pyx")
    modules = {".".join(each.relative_to(ROOT / "ext").with_suffix("").parts) for each in sources}
    assert modules
    if not FAST_PATH:
        modules = {each for each in modules if find_spec(each)}
    command = [sys.executable, "-m", "mypy.stubtest", "--concise", *modules]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
