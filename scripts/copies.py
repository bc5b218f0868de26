"""Copies of the tree, for builds of the compiled modules that the tree itself should not have."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns("build", "dist", ".*", "*.so", "*.egg-info", "__pycache__")


def copy_tree(name: str) -> Path:
    """Copy the tree, without what was built in it, to build/`name`."""
    copy = ROOT / "build" / name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    return copy


def run(where: Path, *arguments: str, environment: dict[str, str]) -> None:
    """Run Python there; end with its exit code if it fails."""
    code = subprocess.run(
        [sys.executable, *arguments],
        cwd=where,
        env={**os.environ, **environment},
        check=False,
    ).returncode
    if code:
        sys.exit(code)
