"""Run the tests of the compiled modules under AddressSanitizer and UndefinedBehaviorSanitizer.

    python scripts/sanitize.py [tests]

Both are in a build of its own, build/sanitize, made with gcc. What they find ends the run.
"""

from __future__ import annotations

import subprocess
import sys

from copies import copy_tree, run

COMPILED = [
    "tests/oracle",
    "tests/unit/pool",
    "tests/unit/net",
    "tests/unit/observe",
    "tests/fast_path",
    "tests/fuzz",
]

SWITCHES = {
    "CC": "gcc",
    "TRIO_LB_SANITIZE": "1",
    # Python's own allocator hides from the sanitizer where an object ends.
    "PYTHONMALLOC": "malloc",
    # Python itself leaves memory behind when it ends.
    "ASAN_OPTIONS": "detect_leaks=0:handle_segv=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def library() -> str:
    """Path of the sanitizer's library, which has to be loaded before Python is."""
    command = ["gcc", "-print-file-name=libasan.so"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Build, and test."""
    copy = copy_tree("sanitize")
    run(copy, "setup.py", "--quiet", "build_ext", "--inplace", environment=SWITCHES)
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *(sys.argv[1:] or COMPILED)]
    run(copy, *pytest, environment={**SWITCHES, "LD_PRELOAD": library()})


if __name__ == "__main__":
    main()
