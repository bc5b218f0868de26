"""How a worker's interpreter is started: like ours, with the modules from where ours came from."""

from __future__ import annotations

import os
import sys

#: Options that are one letter, once or several times, by their names in `sys.flags`.
_LETTERS = {
    "dont_write_bytecode": "B",
    "no_site": "S",
    "no_user_site": "s",
    "optimize": "O",
    "bytes_warning": "b",
    "debug": "d",
    "verbose": "v",
    "quiet": "q",
}


def command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module as ours is run."""
    options = []
    for flag, letter in _LETTERS.items():
        if times := int(getattr(sys.flags, flag)):
            options.append("-" + letter * times)
    options += [f"-W{each}" for each in sys.warnoptions]
    for name, value in sys._xoptions.items():
        options += ["-X", name if value is True else f"{name}={value}"]
    # -P: modules are not to come from the working directory.
    return [sys.executable, *options, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """The environment for it.

    An interpreter that was told to take nothing from the environment (-E, -I) would not take the
    path of the modules from there either. So the variables that ours has ignored are left out.
    """
    known = dict(os.environ)
    if sys.flags.ignore_environment:
        known = {name: value for name, value in known.items() if not name.startswith("PYTHON")}
    return known | {"PYTHONPATH": os.pathsep.join(sys.path)}
