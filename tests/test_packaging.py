"""Unit files and Dockerfile: what must not get lost in them, and that systemd reads them."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGING = ROOT / "packaging"
PROGRAM = "/opt/trio-lb/bin/trio-lb"


def settings(name: str) -> dict[str, list[str]]:
    """The values of each `Section.Key` of a unit file, in their order."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in (PACKAGING / name).read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


def test_the_service() -> None:
    unit = settings("trio-lb.service")
    profile = "/etc/trio-lb/config.yaml"
    expected = {
        "Type": ["notify"],
        "NotifyAccess": ["main"],
        "ExecStart": [f"{PROGRAM} start --profile {profile}"],
        "ExecReload": [f"{PROGRAM} check --quiet {profile}", "/bin/kill -HUP $MAINPID"],
        "KillMode": ["mixed"],
        "Restart": ["on-failure"],
        "RestartPreventExitStatus": ["2"],
        "DynamicUser": ["yes"],
        "NoNewPrivileges": ["yes"],
        "ProtectSystem": ["strict"],
        "PrivateTmp": ["yes"],
        "AmbientCapabilities": ["CAP_NET_BIND_SERVICE"],
        "CapabilityBoundingSet": ["CAP_NET_BIND_SERVICE"],
        "RestrictAddressFamilies": ["AF_INET AF_INET6 AF_UNIX"],
    }
    assert {key: unit.get(f"Service.{key}") for key in expected} == expected
    assert int(unit["Service.WatchdogSec"][0].removesuffix("s")) > 0
    assert int(unit["Service.LimitNOFILE"][0]) >= 65536
    assert unit["Install.WantedBy"] == ["multi-user.target"]


def test_the_commands_in_it_are_right() -> None:
    from trio_lb.cli import _parser

    unit = settings("trio-lb.service")
    for command in [*unit["Service.ExecStart"], unit["Service.ExecReload"][0]]:
        program, *arguments = command.split()
        assert program == PROGRAM
        assert _parser().parse_args(arguments).run


def test_the_socket() -> None:
    unit = settings("trio-lb.socket")
    assert unit["Socket.ListenStream"] == ["80"]
    assert "Socket.Accept" not in unit  # one process takes all clients
    assert unit["Install.WantedBy"] == ["sockets.target"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_reads_them(tmp_path: Path) -> None:
    for path in PACKAGING.glob("trio-lb.*"):
        # What a unit executes has to be there.
        (tmp_path / path.name).write_text(path.read_text().replace(PROGRAM, "/bin/true"))
    units = [str(path) for path in tmp_path.iterdir()]
    assert len(units) == 2
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_dockerfile() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert len(stages) == 3
    lines = stages[-1].splitlines()
    assert "USER 10001:10001" in lines
    assert "STOPSIGNAL SIGTERM" in lines
    assert 'ENTRYPOINT ["trio-lb"]' in lines
    assert 'CMD ["start", "--profile", "/etc/trio-lb/config.yaml"]' in lines


def test_the_image_is_built_from_what_the_wheel_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    wanted = [line[1:] for line in lines if line.startswith("!")]
    assert {"ext", "trio_lb", "pyproject.toml", "setup.py"} <= set(wanted)
    assert [name for name in wanted if not (ROOT / name).exists()] == []


def test_what_the_build_needs_is_said_alike_in_both_places() -> None:
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert sorted(said["build-system"]["requires"]) == said["dependency-groups"]["build"]


@pytest.mark.parametrize("wanted", ["1", "0"])
def test_a_build_without_the_fast_path(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As elsewhere than on Linux: what Python needs anyway is compiled, and no more."""
    monkeypatch.setenv("TRIO_LB_FAST_PATH", wanted)
    sources = runpy.run_path(str(ROOT / "setup.py"))["sources"]
    assert "trio_lb.fast.table" in sources
    linux = wanted == "1" and sys.platform == "linux"
    assert ("trio_lb.fast.loop" in sources, "trio_lb.fast.exchange" in sources) == (linux, linux)


def test_nothing_is_compiled_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Contents count, not times; and a build elsewhere finds what was built before."""
    from setuptools import Distribution, Extension

    building = runpy.run_path(str(ROOT / "setup.py"))["KeepingBuild"]
    monkeypatch.chdir(tmp_path)
    source, header = tmp_path / "probe.c", tmp_path / "probe.h"
    source.write_text('#include "probe.h"\nint PyInit_probe(void) { return VALUE; }\n')
    header.write_text("#define VALUE 1\n")

    def compiled(where: str = "here") -> str:
        extension = Extension("probe", [str(source)], depends=[str(header)])
        command = building(Distribution({"ext_modules": [extension]}))
        command.build_lib = command.build_temp = where
        command.ensure_finalized()
        command.run()
        assert list((tmp_path / where).rglob("probe*.so"))
        return capfd.readouterr().out

    once = "[1/1] compiling probe\n"
    assert compiled() == once
    os.utime(source)
    os.utime(header)
    assert compiled() == ""
    assert compiled("elsewhere") == ""
    header.write_text("#define VALUE 2\n")
    assert compiled() == once
    header.write_text("#define VALUE 1\n")
    assert compiled() == ""


def test_the_demo_needs_no_tools() -> None:
    """`make demo` installs what runs, and not what tests."""
    makefile = (ROOT / "Makefile").read_text()
    rules = dict(re.findall(r"^([^\t#\n:]+):[ \t]*([^#\n=]*)(?:#.*)?$", makefile, re.MULTILINE))
    assert rules["demo"].split() == ["$(BUILT)"]
    for rule in ("lint", "types", "unit", "coverage"):
        assert "$(TOOLS)" in rules[rule]


def test_what_tests_the_wheel_needs_nothing_but_tests() -> None:
    """cibuildwheel copies `test-sources` elsewhere, and runs `test-command` there."""
    wheels = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    assert wheels["test-sources"] == ["tests", "pyproject.toml"]
    command, *where = wheels["test-command"].partition("pytest -q ")
    assert command == "python -m "
    others = r"benchmarks|docs|ext|packaging|scripts|Makefile|README\.md|setup\.py"
    pattern = rf"[/(] ?[\"'](?:{others})[\"']|^(?:from|import) (?:benchmarks|scripts)\b"
    beside = re.compile(pattern, re.MULTILINE)
    for directory in where[-1].split():
        for path in (ROOT / directory).rglob("*.py"):
            assert not beside.search(path.read_text()), path
