"""Builds the compiled modules; everything else is in pyproject.toml.

Switches for development, all off in a release:
    TRIO_LB_TRACE=1     line tracing in the compiled modules, for coverage
"""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

trace = os.environ.get("TRIO_LB_TRACE") == "1"

extensions = [
    Extension(
        f"trio_lb.{name}",
        [f"ext/trio_lb/{name}.pyx"],
        define_macros=[("CYTHON_TRACE_NOGIL", "1")] if trace else [],
        extra_compile_args=["-O1" if trace else "-O3", "-Wall", "-ffp-contract=off"],
    )
    for name in ("_table", "_select")
]

setup(
    ext_modules=cythonize(
        extensions,
        include_path=["ext"],
        build_dir="build/cython-trace" if trace else "build/cython",
        compiler_directives={"language_level": 3, "linetrace": trace, "autotestdict": False},
    ),
)
