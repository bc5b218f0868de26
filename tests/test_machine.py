"""What the compiled modules rely on is said when they are compiled, and not found out later."""

from __future__ import annotations

import runpy
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEADER = "ext/trio_lb/fast/machine.h"
COMPILER = (sysconfig.get_config_var("CC") or "cc").split()[0]


def compile_with(*flags: str, header: bool = True) -> subprocess.CompletedProcess[str]:
    """Compile nothing, behind the header."""
    include = ["-include", HEADER] if header else []
    command = [COMPILER, *flags, *include, "-x", "c", "-fsyntax-only", "/dev/null"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def for_32_bits(*flags: str) -> str:
    """What a compiler for another machine says."""
    try:
        able = compile_with("-m32", header=False).returncode == 0
    except FileNotFoundError:
        pytest.skip(f"there is no {COMPILER}")
    if not able:
        pytest.skip(f"{COMPILER} compiles nothing for 32 bits")
    result = compile_with("-m32", *flags)
    assert result.returncode
    return result.stderr


def test_this_machine_will_do() -> None:
    try:
        result = compile_with()
    except FileNotFoundError:
        pytest.skip(f"there is no {COMPILER}")
    assert (result.returncode, result.stderr) == (0, "")


def test_lengths_need_64_bits() -> None:
    assert "trio-lb needs a 64-bit system" in for_32_bits()


def test_the_table_needs_lock_free_words_of_8_bytes() -> None:
    said = for_32_bits("-march=i386")
    assert "trio-lb needs lock-free atomics of 8 bytes" in said


def test_every_module_is_compiled_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    build = runpy.run_path("setup.py")
    extensions = build["extensions"]
    assert len(extensions) == len(build["ROOMS"]) > 4
    for extension in extensions:
        arguments = extension.extra_compile_args
        assert arguments[arguments.index("-include") + 1] == HEADER
        assert HEADER in extension.depends
