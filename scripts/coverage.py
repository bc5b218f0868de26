"""Run all tests, and say which lines and branches they reach, in .py and .pyx.

    python scripts/coverage.py

The Python part is measured while the tests run on the modules as they are installed. Lines of the
compiled modules can only be seen in a build with line tracing, which is slow; so the tests of those
modules run once more, in a copy of the tree with such a build, build/coverage, at the same time.
(Of the compiled modules lines are reported; Cython does not trace branches.)
"""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

from copies import ROOT, copy_tree, run

if TYPE_CHECKING:
    from pathlib import Path

COMPILED = ["tests/oracle", "tests/unit/balance"]
SWITCHES = {"TRIO_LB_TRACE": "1", "COVERAGE_CORE": "ctrace"}


def measure(where: Path, *tests: str, output: IO[str] | None = None) -> None:
    """Run tests under coverage; the data stay in .coverage there."""
    pytest = ["-m", "coverage", "run", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run(where, *pytest, *tests, environment=SWITCHES, output=output)


def measure_compiled(copy: Path, output: IO[str]) -> None:
    """Build the copy's compiled modules with line tracing, and run their tests."""
    build = ["setup.py", "--quiet", "build_ext", "--inplace"]
    run(copy, *build, environment=SWITCHES, output=output)
    # The plugin learns from the C code which lines there are, and looks for it beside its source.
    for generated in copy.glob("build/cython-trace/ext/trio_lb/*.c"):
        shutil.copy2(generated, copy / "ext" / "trio_lb")
    measure(copy, *COMPILED, output=output)


def main() -> None:
    """Test, and test with tracing beside it; then report."""
    copy = copy_tree("coverage")  # before any test has run
    with (
        tempfile.TemporaryFile("w+") as output,
        ThreadPoolExecutor(max_workers=1) as pool,
    ):
        compiled = pool.submit(measure_compiled, copy, output)
        measure(ROOT)
        try:
            compiled.result()
        finally:
            output.seek(0)
            print(output.read(), end="", flush=True)
    combine = ["combine", "--append", "--quiet", str(ROOT / ".coverage")]
    run(copy, "-m", "coverage", *combine, environment=SWITCHES)
    run(copy, "-m", "coverage", "report", environment=SWITCHES)


if __name__ == "__main__":
    main()
