"""The command line: what it accepts, prints and answers, without a running load balancer."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, BinaryIO

import pytest
import yaml

from trio_lb import logs
from trio_lb.cli import main
from trio_lb.cli.common import log_levels
from trio_lb.config import json_schema, parse_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trio_lb.config import Profile

RIGHT = "servers: [http://127.0.0.1:3001, http://127.0.0.1:3002]\nlog_level: warning\n"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _python(*arguments: str, stdout: int | BinaryIO = subprocess.PIPE) -> tuple[int, str, str]:
    """Exit code, output and errors of a process of its own."""
    done = subprocess.run(
        [sys.executable, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "error"},
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert output.out.startswith("usage: trio-lb ")
    assert "trio-lb start x.yaml -r" in output.out
    assert output.err == ""


@pytest.mark.parametrize("command", ["start", "reload", "stop", "check", "demo", "help"])
def test_help_of_a_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", command]) == 0
    explained = capsys.readouterr().out
    assert explained.startswith(f"usage: trio-lb {command} ")
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out == explained


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["begin"], "unknown command begin: expected one of start, reload"),
        (["help", "begin"], "unknown command begin: expected one of start, reload"),
        (["start", "--repot"], "unknown option --repot: did you mean --report?"),
        (["start", "--rep"], "unknown option --rep: did you mean --report?"),
        (["start", "-a", "rond_robin"], 'did you mean "round_robin"?'),
        (["start", "-u", "https://a"], "TLS) is not supported yet"),
        (["start", "-u", "localhost:80"], 'did you mean "http://localhost:80"?'),
        (["start", "-w", "0"], "expected a whole number from 1 to 256, or auto, got '0'"),
        (["stop", "--wait", "long"], "expected a duration such as 250ms, 10s or 2m, got 'long'"),
        (["start", "--log-level", "warn"], 'did you mean "warning"?'),
        (["start", "--log-level", "a=b=c"], "expected LEVEL or NAME=LEVEL"),
        (["start", "-p"], "expected one argument"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert said in output.err
    assert output.out == ""


def test_version_and_help_do_not_import_what_they_do_not_need() -> None:
    for option in ("--version", "--help"):
        code, output, errors = _python(
            "-c",
            "import sys; from trio_lb.cli import main\n"
            f"code = main(['{option}'])\n"
            "heavy = {'trio', 'yaml', 'msgspec', 'h11', 'rich', 'trio_lb.config'}\n"
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
            "sys.exit(code)",
        )
        assert (code, errors) == (0, "")
        assert "trio-lb " in output


def test_next_to_nothing_is_imported_before_ctrl_c_is_silent() -> None:
    code, _, errors = _python(
        "-c",
        "import __future__, signal, sys\n"
        "before = set(sys.modules)\n"
        "import trio_lb.__main__\n"
        "new = set(sys.modules) - before\n"
        "assert new == {'trio_lb', 'trio_lb.__main__'}, new",
    )
    assert (code, errors) == (0, "")


def test_check_prints_the_resolved_profile(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "x.yaml").write_text(RIGHT)
    for arguments in (["x.yaml"], ["-p", "x.yaml"], ["--path", "x.yaml"], ["--profile=x.yaml"]):
        assert main(["check", *arguments]) == 0
        output = capsys.readouterr()
        assert parse_profile(output.out) == parse_profile(RIGHT)
        assert yaml.safe_load(output.out)["timeouts"]["connect"] == "2s"
        assert output.err == ""
    assert main(["check", "-q", "x.yaml"]) == 0
    assert capsys.readouterr().out == ""


def test_check_reads_config_yaml_by_itself(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check"]) == 2
    assert capsys.readouterr().err == (
        "trio-lb: there is no config.yaml in this directory: "
        "give a profile with --profile FILE, or try `trio-lb demo`\n"
    )
    (directory / "config.yaml").write_text(RIGHT)
    assert main(["check", "-q"]) == 0


def test_check_of_two_profiles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "a", "-p", "b"]) == 2
    assert "expected one profile" in capsys.readouterr().err


def test_check_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


@pytest.mark.parametrize("command", ["check", "start"])
def test_a_wrong_profile_is_told_and_ends_with_2(
    command: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "x.yaml").write_text("servers: http://a:0\ntimeout: x\n")
    assert main([command, "-p", "x.yaml"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert [line.split(": ")[0] for line in output.err.splitlines()] == [
        "x.yaml:1:10",
        "x.yaml:2:10",
    ]


def test_a_profile_that_can_not_be_read_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["start", "-p", "x.yaml"]) == 2
    assert capsys.readouterr().err == (
        "trio-lb: x.yaml: cannot read it: no such file or directory\n"
    )


def test_places_are_bold_on_a_terminal_only(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "x.yaml").write_text("servers: 3")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    main(["check", "x.yaml"])
    assert capsys.readouterr().err.startswith("\033[1mx.yaml:1:10\033[m: servers: ")
    monkeypatch.setenv("NO_COLOR", "1")
    main(["check", "x.yaml"])
    assert capsys.readouterr().err.startswith("x.yaml:1:10: servers: ")


def test_a_reader_that_stops_reading_is_no_error(directory: Path) -> None:
    (directory / "x.yaml").write_text(RIGHT)
    reader, writer = os.pipe()
    os.close(reader)
    code, _, errors = _python("-m", "trio_lb", "check", "x.yaml", stdout=writer)
    os.close(writer)
    assert (code, errors) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_output_that_can_not_be_written_is_told(directory: Path) -> None:
    (directory / "x.yaml").write_text(RIGHT)
    with open("/dev/full", "wb") as full:
        code, _, errors = _python("-m", "trio_lb", "check", "x.yaml", stdout=full)
    assert (code, errors) == (1, "trio-lb: No space left on device\n")


def test_an_interrupt_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("trio_lb.cli.check.check", interrupt)
    assert main(["check"]) == 1


# Start: what it hands on to the one that runs it.


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Profile, int, str | None]]]:
    """What `trio_lb.cli.run.run` was called with; it does not run here."""
    calls: list[tuple[Profile, int, str | None]] = []

    def run(
        profile: Profile,
        load: Callable[[], Profile],
        *,
        file: str,
        report: int,
        save: str | None,
        log_levels: list[tuple[str | None, str]],
    ) -> int:
        assert load() == profile
        assert os.path.isfile(file)
        assert isinstance(log_levels, list)
        calls.append((profile, report, save))
        return 0

    monkeypatch.setattr("trio_lb.cli.run.run", run)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield calls
    root.handlers[:] = handlers
    root.setLevel(level)


def test_start_takes_the_profile_as_it_is(
    directory: Path, started: list[tuple[Profile, int, str | None]]
) -> None:
    (directory / "config.yaml").write_text(RIGHT)
    assert main(["start"]) == 0
    assert started == [(parse_profile(RIGHT), 0, None)]
    assert logging.getLogger().level == logging.WARNING


def test_start_puts_the_command_line_over_the_profile(
    directory: Path, started: list[tuple[Profile, int, str | None]]
) -> None:
    (directory / "x.yaml").write_text(RIGHT)
    arguments = "start -p x.yaml -u http://:81 --address http://a:82 -a wlc -w 3 -rr -s out.jsonl"
    assert main([*arguments.split(), "--log-level", "trio_lb.test_cli=debug:error"]) == 0
    ((profile, report, save),) = started
    assert [str(each.address) for each in profile.listen] == ["http://*:81", "http://a:82"]
    assert profile.algorithm == "weighted_least_connections"
    assert profile.workers == 3
    assert profile.servers == parse_profile(RIGHT).servers
    assert (report, save) == (2, "out.jsonl")
    assert logging.getLogger().level == logging.ERROR
    assert logging.getLogger("trio_lb.test_cli").level == logging.DEBUG


def test_start_checks_the_whole(
    directory: Path,
    started: list[tuple[Profile, int, str | None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (directory / "config.yaml").write_text(RIGHT)
    assert main(["start", "-u", "http://localhost:3002"]) == 2
    assert capsys.readouterr().err == (
        "trio-lb: command line: servers[1]: http://127.0.0.1:3002 is where this load balancer "
        "listens (http://localhost:3002)\n"
    )
    assert started == []


def test_log_levels() -> None:
    assert log_levels("debug") == [(None, "DEBUG")]
    assert log_levels("a,b=Info:warning") == [("a", "INFO"), ("b", "INFO"), (None, "WARNING")]


@pytest.mark.usefixtures("started")
def test_a_log_record_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logging.getLogger("trio_lb.x").info("a\nb\x1b[31m %s", "é")
    logging.getLogger("trio_lb.x").debug("not this")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" INFO    a\\nb\\x1b[31m é")
