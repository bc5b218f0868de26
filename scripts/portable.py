"""Run tests of the fast path as it is compiled elsewhere than on Linux.

    python scripts/portable.py [tests]

The build is one of its own, build/portable: without epoll and splice, and with the least that a
system may tell of a socket. It runs on this system's kernel, so what it shows is that the fast path
needs no more than that; not that another kernel behaves like this one.
"""

from __future__ import annotations

import sys

from copies import copy_tree, run

TESTS = [
    "tests/fast_path",
    "tests/unit/net",
    "tests/oracle",
    "tests/gateway",
    "tests/test_stubs.py",
]

SWITCHES = {"TRIO_LB_PORTABLE": "1"}


def main() -> None:
    """Build, and test."""
    copy = copy_tree("portable")
    run(copy, "setup.py", "--quiet", "build_ext", "--inplace", environment=SWITCHES)
    pytest = ["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *(sys.argv[1:] or TESTS)]
    run(copy, *pytest, environment=SWITCHES)


if __name__ == "__main__":
    main()
