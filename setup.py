"""Builds the compiled modules; everything else is in pyproject.toml.

A module that was compiled is kept in build/compiled, under a digest of all that it was made from.
So nothing is compiled twice, whatever the times of the files say, and wherever pip builds.

Switches for development, all off in a release:
    TRIO_LB_TRACE=1     line tracing in the compiled modules, for coverage
    TRIO_LB_SANITIZE=1  AddressSanitizer and UndefinedBehaviorSanitizer (scripts/sanitize.py)
    TRIO_LB_FAST_PATH=0 without the fast path, as elsewhere than on Linux (scripts/slow_path.py)
    TRIO_LB_ALSO=FILE   also this module, of a benchmark or a test: a path below this directory
"""

import hashlib
import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

trace = os.environ.get("TRIO_LB_TRACE") == "1"
fast_path = sys.platform == "linux" and os.environ.get("TRIO_LB_FAST_PATH") != "0"
sanitize = os.environ.get("TRIO_LB_SANITIZE") == "1"
sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"] if sanitize else []
macros = [("CYTHON_TRACE_NOGIL", "1")] if trace else []

#: Each is one extension, so that calls within it are direct: NAME.pyx and NAME.pxd put together
#: what is in the folder NAME.
ROOMS = ["table", "http1", "record", "clock", "sockets"]
if fast_path:
    ROOMS += ["loop", "exchange"]

sources = {f"trio_lb.fast.{room}": f"ext/trio_lb/fast/{room}.pyx" for room in ROOMS}
if also := os.environ.get("TRIO_LB_ALSO"):
    sources[also.removesuffix(".pyx").replace("/", ".")] = also

extensions = [
    Extension(
        name,
        [source],
        depends=sorted(map(str, Path("ext/trio_lb/fast").rglob("*.h"))),
        include_dirs=["ext/trio_lb/fast"],
        define_macros=macros,
        extra_compile_args=[
            # Compiled for one run that counts lines, or for millions of requests.
            "-O0" if trace else "-O1" if sanitize else "-O3",
            "-Wall",
            "-ffp-contract=off",
            "-include",
            "ext/trio_lb/fast/machine.h",
            *sanitizers,
        ],
        extra_link_args=sanitizers,
    )
    for name, source in sources.items()
]

COMPILED = Path("build/compiled")
KEPT = 8  # versions of a module


class KeepingBuild(build_ext):
    """Compiles what is not kept yet, and says how far that is."""

    def build_extensions(self) -> None:
        compiler = [*self.compiler.compiler_so, "--version"]
        version = subprocess.run(compiler, capture_output=True, check=False).stdout
        self.common = (sys.version, self.compiler.compiler_so, self.compiler.linker_so, version)
        self.new = sum(not self.kept(ext).exists() for ext in self.extensions)
        self.numbers = count(1)
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        built, kept = Path(self.get_ext_fullpath(ext.name)), self.kept(ext)
        if kept.exists():
            os.utime(kept)  # or the copy is taken for older than what was built last
            put(kept, built)
            return
        print(f"[{next(self.numbers)}/{self.new}] compiling {ext.name}", flush=True)
        built.unlink(missing_ok=True)  # or it is taken for new enough
        super().build_extension(ext)
        put(built, kept)
        for old in sorted(kept.parent.iterdir(), key=os.path.getmtime)[:-KEPT]:
            old.unlink()

    def kept(self, ext: Extension) -> Path:
        made_from = (*self.common, ext.define_macros, ext.extra_compile_args, ext.extra_link_args)
        digest = hashlib.sha256(repr(made_from).encode())
        for path in (*ext.sources, *ext.depends):
            digest.update(Path(path).read_bytes())
        return COMPILED / ext.name / f"{digest.hexdigest()[:32]}.so"


def put(source: Path, target: Path) -> None:
    """Copy, so that whoever looks finds all of it or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(f".{os.getpid()}")
    shutil.copy2(source, part)
    part.replace(target)


if __name__ == "__main__":  # Cython's processes import this file where they can't fork
    setup(
        ext_modules=cythonize(
            extensions,
            include_path=["ext"],
            build_dir="build/cython-trace" if trace else "build/cython",
            compiler_directives={"language_level": 3, "linetrace": trace, "autotestdict": False},
            nthreads=os.cpu_count() or 1,
            cache="build/cython-cache",
            quiet=True,
        ),
        cmdclass={"build_ext": KeepingBuild},
        options={"build_ext": {"parallel": True}},
    )
