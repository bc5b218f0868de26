"""Run all tests, and say which lines and branches they reach, in .py and .pyx.

    python scripts/coverage.py

The Python part is measured while the tests run on the modules as they are installed, in two runs
at a time: of tests that mostly wait for processes, and of the others. Lines of the compiled modules
can only be seen in a build with line tracing, which is slow; so the tests of those modules run once
more, in a copy of the tree with such a build, build/coverage. (Of the compiled modules lines are
reported; Cython does not trace branches.)
"""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

from copies import ROOT, copy_tree, run

if TYPE_CHECKING:
    from pathlib import Path

WAITING = ["tests/process", "tests/faults", "tests/peers"]
COMPILED = ["tests/oracle", "tests/unit/pool"]
# Hundreds of thousands of picks, which reach no line that the others of those do not.
REPEATED = "tests/unit/pool/test_response_times.py"
SWITCHES = {"TRIO_LB_TRACE": "1", "COVERAGE_CORE": "ctrace"}


def measure(
    where: Path, data: str, *tests: str, output: IO[str] | None = None, examples: str = "here"
) -> None:
    """Run tests under coverage; what was reached goes into the file `data` there."""
    pytest = ["-m", "coverage", "run", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {**SWITCHES, "COVERAGE_FILE": data, "TRIO_LB_HYPOTHESIS": examples}
    run(where, *pytest, *tests, environment=environment, output=output)


def measure_compiled(copy: Path) -> None:
    """Build the copy's compiled modules with line tracing, and run their tests."""
    build = ["setup.py", "--quiet", "build_ext", "--inplace"]
    run(copy, *build, environment=SWITCHES)
    # The plugin learns from the C code which lines there are, and looks for it beside its source.
    traced = copy / "build" / "cython-trace"
    for generated in traced.glob("ext/trio_lb/fast/*/*.c"):
        shutil.copy2(generated, copy / generated.relative_to(traced))
    measure(copy, ".coverage", *COMPILED, f"--ignore={REPEATED}", examples="traced")


def measure_others(output: IO[str]) -> None:
    """Run the tests that keep a processor busy: all that do not wait."""
    ignored = [f"--ignore={tests}" for tests in WAITING]
    measure(ROOT, ".coverage.others", "tests", *ignored, output=output)


def main() -> None:
    """Test, and test with tracing; then report."""
    copy = copy_tree("coverage")  # before any test has run
    with (
        tempfile.TemporaryFile("w+") as output,
        ThreadPoolExecutor(max_workers=1) as pool,
    ):
        others = pool.submit(measure_others, output)
        try:
            measure(ROOT, ".coverage.waiting", *WAITING)
            measure_compiled(copy)
        finally:
            failure = others.exception()
            output.seek(0)
            print(output.read(), end="", flush=True)
        if failure is not None:
            raise failure
    data = [str(ROOT / f".coverage.{name}") for name in ("waiting", "others")]
    run(copy, "-m", "coverage", "combine", "--append", "--quiet", *data, environment=SWITCHES)
    run(copy, "-m", "coverage", "report", environment=SWITCHES)


if __name__ == "__main__":
    main()
