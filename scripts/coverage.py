"""Run all tests; say which lines and branches they reach, in .py and .pyx.

    python scripts/coverage.py

The Python part is measured while the tests run on the modules as they are installed. Lines of the
compiled modules can only be seen in a build with line tracing, which is slow; so the tests of those
modules alone run once more, in a copy of the tree with such a build, build/coverage. (Of the
compiled modules lines are reported; Cython does not trace branches.)
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from copies import ROOT, copy_tree, run

if TYPE_CHECKING:
    from pathlib import Path

COMPILED = ["tests/oracle", "tests/unit/pool"]
# Hundreds of thousands of picks, which reach no line that the others of those do not.
REPEATED = "tests/unit/pool/test_response_times.py"
TRACED = {"TRIO_LB_TRACE": "1"}  # for the build of the copy alone: tests build modules too
CORE = {"COVERAGE_CORE": "ctrace"}
FAST = ROOT / "ext" / "trio_lb" / "fast"


def measure(where: Path, *options: str, examples: str = "here") -> None:
    """Run tests under coverage, several at a time; what was reached goes into .coverage there."""
    pytest = ["-m", "pytest", "-q", "-n", "auto", "-p", "no:cacheprovider"]
    coverage = ["--cov", "--cov-report="]
    environment = {**CORE, "TRIO_LB_HYPOTHESIS": examples}
    run(where, *pytest, *coverage, *options, environment=environment)


def measure_compiled(copy: Path) -> None:
    """Build the copy's compiled modules with line tracing, and run their tests."""
    build = ["setup.py", "--quiet", "build_ext", "--inplace"]
    run(copy, *build, environment=TRACED)
    # The plugin learns from the C code which lines there are. It looks for it beside each source,
    # under the source's name: those of a room are in the folder of the room's name.
    traced = copy / "build" / "cython-trace"
    for generated in traced.glob("ext/trio_lb/fast/*.c"):
        beside = copy / generated.relative_to(traced)
        shutil.copy2(generated, beside)
        for source in beside.with_suffix("").glob("*.px*"):
            shutil.copy2(generated, source.with_suffix(".c"))
    measure(copy, *COMPILED, f"--ignore={REPEATED}", examples="traced")


def main() -> None:
    """Test, and test with tracing; then report."""
    copy = copy_tree("coverage")  # before any test has run
    measure(ROOT)
    measure_compiled(copy)
    others = str(ROOT / ".coverage")
    run(copy, "-m", "coverage", "combine", "--append", "--quiet", others, environment=CORE)
    # A room's own source is a list of its modules: it has no line that could be reached.
    rooms = [f"ext/trio_lb/fast/{room.name}.pyx" for room in FAST.iterdir() if room.is_dir()]
    run(copy, "-m", "coverage", "report", f"--omit={','.join(rooms)}", environment=CORE)


if __name__ == "__main__":
    main()
