"""Builds the compiled modules; everything else is in pyproject.toml.

Switches for development, all off in a release:
    TRIO_LB_TRACE=1     line tracing in the compiled modules, for coverage
    TRIO_LB_SANITIZE=1  AddressSanitizer and UndefinedBehaviorSanitizer (scripts/sanitize.py)
    TRIO_LB_PORTABLE=1  as elsewhere than on Linux (scripts/portable.py): without epoll, and where
                        systems differ, as one that has nothing beyond POSIX (_system.h)
    TRIO_LB_LOOPS=1     also the loops that benchmarks/micro measures
"""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

trace = os.environ.get("TRIO_LB_TRACE") == "1"
portable = os.environ.get("TRIO_LB_PORTABLE") == "1"
linux = sys.platform == "linux" and not portable
sanitize = os.environ.get("TRIO_LB_SANITIZE") == "1"
sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"] if sanitize else []
macros = [
    *([("CYTHON_TRACE_NOGIL", "1")] if trace else []),
    *([("TRIO_LB_LINUX", "1")] if linux else []),
]

TABLE = ("_block", "_table", "_recovery", "_select", "_places")
CODEC = ("_fields", "_parser", "_writer", "_framing", "_heads")
WAITING = ("_readiness", "_trio_waits", "_sockets", "_pipes", "_buffers", "_upstreams")
STAGES = ("_exchange", "_request", "_forward", "_upload", "_response", "_client")
ROAD = ("_flow", "_road", *STAGES)
LINUX = ("_loop", "_epoll")

sources = {
    f"trio_lb.{name}": f"ext/trio_lb/{name}.pyx"
    for name in (*TABLE, *CODEC, *WAITING, *ROAD, *(LINUX if linux else ()))
}
if os.environ.get("TRIO_LB_LOOPS") == "1":
    sources["benchmarks.micro.road_loops"] = "benchmarks/micro/road_loops.pyx"

extensions = [
    Extension(
        name,
        [source],
        depends=["ext/trio_lb/_scan.h", "ext/trio_lb/_system.h"],
        include_dirs=["ext/trio_lb"],
        define_macros=macros,
        extra_compile_args=[
            # Compiled for one run that counts lines, or for millions of requests.
            "-O0" if trace else "-O1" if sanitize else "-O3",
            "-Wall",
            "-ffp-contract=off",
            *sanitizers,
        ],
        extra_link_args=sanitizers,
    )
    for name, source in sources.items()
]

setup(
    ext_modules=cythonize(
        extensions,
        include_path=["ext"],
        build_dir="build/cython-trace" if trace else "build/cython",
        compiler_directives={"language_level": 3, "linetrace": trace, "autotestdict": False},
    ),
    options={"build_ext": {"parallel": True}},
)
