"""Programs in C of the benchmarks, built where they are used."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def compiled(source: Path, directory: Path) -> Path:
    """Compiles a program into a directory; returns where it is.

    Raises:
        FileNotFoundError: there is no gcc.
        CalledProcessError: it does not compile.
    """
    program = directory / source.stem
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(source)]
    subprocess.run(command, check=True)
    return program
