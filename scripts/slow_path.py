"""Run tests on a build without the fast path, as it is elsewhere than on Linux.

    python scripts/slow_path.py [tests]

The build is one of its own, build/slow-path. What it shows is that the slow path is complete by
itself: it serves all that the tests ask of a proxy and of a service.
"""

from __future__ import annotations

import sys

from copies import copy_tree, run

TESTS = ["tests/gateway", "tests/oracle", "tests/proxy", "tests/service", "tests/test_stubs.py"]

SWITCHES = {"TRIO_LB_FAST_PATH": "0"}


def main() -> None:
    """Build, and test."""
    copy = copy_tree("slow-path")
    run(copy, "setup.py", "--quiet", "build_ext", "--inplace", environment=SWITCHES)
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *(sys.argv[1:] or TESTS)]
    run(copy, *pytest, environment=SWITCHES)


if __name__ == "__main__":
    main()
