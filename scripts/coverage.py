"""Run all tests, and say which lines and branches they reach, in .py and .pyx.

    python scripts/coverage.py

The Python part is measured while the tests run on the modules as they are installed. Lines of the
compiled modules can only be seen in a build with line tracing, which is slow; so the tests of those
modules run once more, in a copy of the tree with such a build, build/coverage, at the same time.
(Of the compiled modules lines are reported; Cython does not trace branches.)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "coverage"
LEFT_OUT = shutil.ignore_patterns("build", "dist", ".*", "*.so", "*.egg-info", "__pycache__")
COMPILED = ["tests/oracle", "tests/unit/balance"]


def run(where: Path, *arguments: str, output: IO[str] | None = None) -> None:
    """Run Python there; end with its exit code if it fails."""
    environment = {**os.environ, "TRIO_LB_TRACE": "1", "COVERAGE_CORE": "ctrace"}
    command = [sys.executable, *arguments]
    code = subprocess.run(
        command, cwd=where, env=environment, check=False, stdout=output, stderr=output
    ).returncode
    if code:
        sys.exit(code)


def measure(where: Path, *tests: str, output: IO[str] | None = None) -> None:
    """Run tests under coverage; the data stay in .coverage there."""
    pytest = ["-m", "coverage", "run", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run(where, *pytest, *tests, output=output)


def copy_tree() -> None:
    """Copy the tree as it is before any test has run."""
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(ROOT, COPY, ignore=LEFT_OUT)


def measure_compiled(output: IO[str]) -> None:
    """Build the copy's compiled modules with line tracing, and run their tests."""
    run(COPY, "setup.py", "--quiet", "build_ext", "--inplace", output=output)
    # The plugin learns from the C code which lines there are, and looks for it beside its source.
    for generated in COPY.glob("build/cython-trace/ext/trio_lb/*.c"):
        shutil.copy2(generated, COPY / "ext" / "trio_lb")
    measure(COPY, *COMPILED, output=output)


def main() -> None:
    """Test, and test with tracing beside it; then report."""
    copy_tree()
    with (
        tempfile.TemporaryFile("w+") as output,
        ThreadPoolExecutor(max_workers=1) as pool,
    ):
        compiled = pool.submit(measure_compiled, output)
        measure(ROOT)
        try:
            compiled.result()
        finally:
            output.seek(0)
            print(output.read(), end="", flush=True)
    run(COPY, "-m", "coverage", "combine", "--append", "--quiet", str(ROOT / ".coverage"))
    run(COPY, "-m", "coverage", "report")


if __name__ == "__main__":
    main()
