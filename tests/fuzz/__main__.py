"""Fuzz with atheris: `python -m tests.fuzz --minutes 30`, or one target by its name.

New inputs that reach new code are collected below build/fuzz; with `--keep` they are merged into
the corpus of the repository, as small as they can be. An input that makes a target fail is written
beside them, and belongs into the corpus as well, once the reason is mended.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import subprocess
import sys
from pathlib import Path

WORK = Path(__file__).parents[2] / "build" / "fuzz"

#: Bytes of an input: longer ones than the limits of the targets find nothing new.
MAX_LENGTH = 4096


def fuzz(name: str) -> None:
    """Become the fuzzer of a target; libFuzzer's arguments are those of the process.

    Only what is imported here for the first time is instrumented.
    """
    import atheris

    with atheris.instrument_imports(include=["trio_lb", "h11"]):
        from tests.fuzz.targets import TARGETS

    # To merge, libFuzzer starts itself again, by a shell.
    itself = shlex.join([sys.executable, "-m", "tests.fuzz", "--become", name])
    atheris.Setup([itself, *sys.argv[3:]], TARGETS[name])
    atheris.Fuzz()


def run(name: str, seconds: int) -> int:
    """Fuzz a target for a while, in a process of its own."""
    from tests.fuzz.seeds import seeds

    found = WORK / name
    found.mkdir(parents=True, exist_ok=True)
    for data in seeds(name):
        (found / hashlib.sha1(data).hexdigest()).write_bytes(data)
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_LENGTH}", "-timeout=10"]
    prefix = f"-artifact_prefix={WORK}/failed-{name}-"
    dictionary = f"-dict={Path(__file__).parent / 'http.dict'}"
    return _atheris(name, *options, prefix, dictionary, "-print_final_stats=1", found)


def keep(name: str) -> None:
    """Merge what was found into the repository's corpus."""
    from tests.fuzz.seeds import CORPUS

    _atheris(name, "-merge=1", CORPUS / name, WORK / name)


def _atheris(name: str, *arguments: str | Path) -> int:
    command = [sys.executable, "-m", "tests.fuzz", "--become", name, *arguments]
    return subprocess.run(command, check=False).returncode


def main() -> int:
    if sys.argv[1:2] == ["--become"]:
        fuzz(sys.argv[2])
        return 0
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--minutes", type=float, default=30, help="in all (default: 30)")
    parser.add_argument("--keep", action="store_true", help="merge what is new into the corpus")
    arguments = parser.parse_args()
    names = arguments.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(TARGETS)}")
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        if run(name, max(1, int(arguments.minutes * 60 / len(names)))):
            failed.append(name)
        elif arguments.keep:
            keep(name)
    print("failed:", ", ".join(failed) or "none")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
