"""Workers' interpreters have the options of the one that starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[3]

#: Says what it is, as a worker's interpreter says, which it starts. In place of a worker, a module
#: of the standard library that runs what its argument says.
STARTER: Final = """\
import json, subprocess, sys
sys.path.insert(0, sys.argv[1])
from trio_lb.supervise import interpreter
print(json.dumps({"path": sys.path}))
command = interpreter.command("MODULE")
at = command.index("-m")
command[at:] = ["-c", sys.argv[2]]
sys.stdout.flush()
subprocess.run(command, env=interpreter.environment(), check=True)
"""
SAYS: Final = """\
import json, os, sys
flags = {name: getattr(sys.flags, name) for name in dir(sys.flags) if name.islower()
         and name[0] != "_" and not callable(getattr(sys.flags, name))}
print(json.dumps({"flags": flags, "warnings": sys.warnoptions, "x": sys._xoptions,
                  "path": sys.path, "seen": os.environ.get("PYTHONUNBUFFERED")}))
"""


def started_with(*options: str) -> tuple[list[str], dict[str, Any]]:
    """The path of modules of an interpreter with these options, and what its worker says."""
    done = subprocess.run(
        [sys.executable, *options, "-c", STARTER, ROOT, SAYS],
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    ours, worker = map(json.loads, done.stdout.splitlines())
    return ours["path"], worker


def test_nothing_special() -> None:
    path, worker = started_with()
    assert worker["seen"] == "1"
    assert worker["flags"]["safe_path"]
    assert not set(path) - {""} - set(worker["path"])


@pytest.mark.parametrize(
    ("options", "flag", "value"),
    [
        (["-B"], "dont_write_bytecode", 1),
        (["-OO"], "optimize", 2),
        (["-s"], "no_user_site", 1),
        (["-b"], "bytes_warning", 1),
        (["-X", "dev"], "dev_mode", True),
        (["-X", "utf8"], "utf8_mode", 1),
    ],
)
def test_flags(options: list[str], flag: str, value: int) -> None:
    assert started_with(*options)[1]["flags"][flag] == value


def test_warnings_and_implementation_options() -> None:
    options = ["-Werror::ResourceWarning", "-X", "no_debug_ranges", "-X", "int_max_str_digits=640"]
    _, worker = started_with(*options)
    assert worker["warnings"][-1] == "error::ResourceWarning"
    assert worker["x"] == {"no_debug_ranges": True, "int_max_str_digits": "640"}


@pytest.mark.parametrize("option", ["-E", "-I"])
def test_an_environment_that_was_ignored_is_ignored(option: str) -> None:
    """But for where the modules come from, which may be said nowhere else."""
    path, worker = started_with(option)
    assert worker["seen"] is None
    assert str(ROOT) in worker["path"]
    assert not set(path) - {""} - set(worker["path"])
    assert worker["flags"]["no_user_site"] == (option == "-I")
