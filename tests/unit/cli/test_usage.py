"""The command line as people mistype it, and what machines lack that profiles name."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from trio_lb.cli import main

if TYPE_CHECKING:
    from pathlib import Path

RIGHT = "servers: http://127.0.0.1:3001\n"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("strat", "unknown command strat: did you mean start?"),
        ("chekc x.yaml", "unknown command chekc: did you mean check?"),
        ("help relaod", "unknown command relaod: did you mean reload?"),
        ("start --reprot", "unknown option --reprot: did you mean --report?"),
        ("start --savee=x", "unknown option --savee: did you mean --save?"),
        ("check --shema", "unknown option --shema: did you mean --schema?"),
        ("stop --wiat 3s", "unknown option --wiat: did you mean --wait?"),
        ("--verson", "unknown option --verson: did you mean --version?"),
        ("check --zzzzz", "unknown option --zzzzz\n"),
        ("check x.yaml y.yaml", "one argument too many: y.yaml"),
        ("start x.yaml -p y.yaml", "expected one profile, got two"),
        ("check x.yaml -p x.yaml", "expected one profile, got two"),
        ("stop x.yaml -p x.yaml", "expected one profile, got two"),
        ("start -", "start cannot take a profile from standard input"),
    ],
)
def test_mistakes_are_told_with_what_was_meant(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["start", "reload", "stop", "check"])
@pytest.mark.parametrize("option", [["-p", ""], ["--profile="], [""]])
def test_a_file_without_a_name_is_an_error(
    command: str, option: list[str], directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the default profile: `-p "$PROFILE"` with a variable that is not set."""
    (directory / "config.yaml").write_text(RIGHT)
    assert main([command, *option]) == 2
    assert "expected a file name, got nothing" in capsys.readouterr().err


def test_check_reads_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(RIGHT.encode())))
    assert main(["check", "-"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["servers"][0]["url"] == "http://127.0.0.1:3001"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"servers: \xff")))
    assert main(["check", "-"]) == 2
    assert capsys.readouterr().err.startswith("<standard input>:1:10: not UTF-8 text (byte 0xff)")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://127.0.0.1:3001", "http://localhost:3001"),
        ("http://localhost", "http://[::1]:80/"),
        ("http://127.0.0.1:80/a", "http://[::1]/a/"),
    ],
)
def test_one_server_by_two_names_is_a_warning(
    one: str, other: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "x.yaml").write_text(f"servers:\n  - http://a:3001\n  - {one}\n  - {other}\n")
    assert main(["check", "-q", "x.yaml"]) == 0
    assert capsys.readouterr().err.startswith("x.yaml:4:5: warning: servers[2]: ")


@pytest.mark.parametrize(
    "servers",
    [
        "[http://127.0.0.1:3001, http://localhost:3002]",
        "[http://127.0.0.1:3001/a, http://localhost:3001/b]",
        "[http://127.0.0.1:3001, http://127.0.0.2:3001]",
        "http://localhost:3001",
    ],
)
def test_others_are_none(servers: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "x.yaml").write_text(f"servers: {servers}\n")
    assert main(["check", "-q", "x.yaml"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["nowhere/x.jsonl", "."])
def test_reports_that_cannot_be_saved_end_the_start(
    name: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "x.yaml").write_text(RIGHT)
    assert main(["start", "x.yaml", "--save", name]) == 2
    assert f"--save: {name} can't be written: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "start"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/full", "no space left on device"),
        ("socket", "it is a socket"),
        ("link", "it is a socket"),
        ("/dev/loop0", "it is a block device"),
        (".", "is a directory"),
    ],
)
def test_what_no_line_can_be_appended_to_is_told(
    path: str,
    reason: str,
    command: str,
    directory: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if path.startswith("/dev") and not os.path.exists(path):
        pytest.skip(f"no {path} here")
    (directory / "x.yaml").write_text(RIGHT + f"access_log: {path}\n")
    (directory / "link").symlink_to("socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert main([command, "x.yaml"]) == 2
    assert capsys.readouterr().err == (
        f'x.yaml:2:13: access_log: expected a writable file ({reason}), got "{path}"\n'
    )


def test_devices_that_take_lines_are_fine(directory: Path) -> None:
    (directory / "x.yaml").write_text(RIGHT + "access_log: /dev/null\n")
    assert main(["check", "-q", "x.yaml"]) == 0


def test_checking_creates_nothing(directory: Path) -> None:
    (directory / "x.yaml").write_text(RIGHT + "access_log: a.log\npid_file: x.pid\n")
    os.mkfifo(directory / "fifo")
    (directory / "y.yaml").write_text(RIGHT + "access_log: fifo\n")
    assert main(["check", "-q", "x.yaml"]) == 0
    assert main(["check", "-q", "y.yaml"]) == 0
    assert sorted(os.listdir(directory)) == ["fifo", "x.yaml", "y.yaml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_the_user_of_a_profile_may_not_write_is_told(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "x.yaml").write_text(RIGHT + "access_log: a.log\nuser: nobody\n")
    directory.chmod(0o755)
    assert main(["check", "-q", "x.yaml"]) == 2
    assert "x.yaml:2:13: access_log: " in capsys.readouterr().err
    assert os.geteuid() == 0
    directory.chmod(0o777)
    for parent in list(directory.parents)[:3]:
        parent.chmod(0o755)
    assert main(["check", "-q", "x.yaml"]) == 0


@pytest.mark.parametrize("module", ["argparse_addons", "yaml", "trio"])
def test_ctrl_c_during_imports_is_silent(directory: Path, module: str) -> None:
    """As whoever changed their mind right away has it."""
    (directory / "stubs").mkdir()
    (directory / "stubs" / f"{module}.py").write_text(
        f"import os, signal, time\nos.kill(os.getpid(), {int(signal.SIGINT)})\ntime.sleep(30)\n"
    )
    (directory / "x.yaml").write_text(RIGHT)
    done = subprocess.run(
        [sys.executable, "-m", "trio_lb", "start", "-p", "x.yaml"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["stubs", *sys.path])},
        # What runs in the background of a script begins with this signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("arguments", ["check x.yaml", "check größe.yaml", "help"])
def test_output_that_is_not_utf_8_is_no_failure(directory: Path, arguments: str) -> None:
    for name in ("x.yaml", "größe.yaml"):
        (directory / name).write_text("servers: {url: http://a, name: größe}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "trio_lb", *arguments.split()],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "ascii"},
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "check" not in arguments or r"gr\xf6\xdfe" in done.stdout
