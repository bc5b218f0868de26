"""`trio-lb reload` and `trio-lb stop`, against a process that has a pid file and obeys signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from trio_lb.cli import main
from trio_lb.supervise.pidfile import running
from trio_lb.supervise.runtime_dir import default_pid_file

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]

#: Tells of HUP; ends at TERM, so many seconds later.
OBEDIENT: Final = """\
import os, signal, sys, time
from trio_lb.supervise.pidfile import hold_pid_file

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
with hold_pid_file(sys.argv[1]):
    os.chmod(sys.argv[1], 0o644)
    if len(sys.argv) > 3:
        os.setuid(int(sys.argv[3]))
    print("ready", flush=True)
    while (number := signal.sigwait({signal.SIGHUP, signal.SIGTERM})) == signal.SIGHUP:
        print("HUP", flush=True)
time.sleep(float(sys.argv[2]))
"""

Process = subprocess.Popen[str]


@contextmanager
def obedient(pid_file: Path, *arguments: str) -> Iterator[Process]:
    with subprocess.Popen(
        [sys.executable, "-c", OBEDIENT, pid_file, *(arguments or ("0",))],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            assert heard(process) == "ready"
            yield process
        finally:
            process.kill()


def heard(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a profile."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(
        "servers: http://127.0.0.1:3001\npid_file: x.pid\ntimeouts: {drain: 20s}\n"
    )
    return tmp_path


def test_reload(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with obedient(directory / "x.pid") as process:
        for arguments in ([], ["-p", "config.yaml"], ["--pid-file", "x.pid"]):
            assert main(["reload", *arguments]) == 0
            assert heard(process) == "HUP"
            output = capfd.readouterr()
            assert output.out == (
                f"trio-lb: told process {process.pid} to reload: see its log for the result, "
                "or use reload --wait\n"
            )
            assert output.err == ""


def test_a_wrong_profile_is_not_reloaded(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with obedient(directory / "x.pid") as process:
        right = (directory / "config.yaml").read_text()
        (directory / "config.yaml").write_text(right + "retires: 3\n")
        assert main(["reload"]) == 2
        assert "config.yaml:4:1: retires: unknown key" in capfd.readouterr().err
        (directory / "config.yaml").write_text(right)
        assert main(["stop"]) == 0
        assert heard(process) == ""  # no HUP came before the end


def test_stop_waits_for_the_end(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with obedient(directory / "x.pid", "0.3") as process:
        before = time.monotonic()
        assert main(["stop"]) == 0
        assert time.monotonic() - before >= 0.25
        assert process.wait(10) == 0
        assert capfd.readouterr().out == f"trio-lb: process {process.pid} has stopped\n"
    assert not (directory / "x.pid").exists()


def test_stop_does_not_wait_longer_than_it_should(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with obedient(directory / "x.pid", "60") as process:
        assert main(["stop", "--wait", "200ms"]) == 1
        output = capfd.readouterr()
        assert output.out == ""
        assert output.err.startswith(f"trio-lb: process {process.pid} has not stopped within 0.2 ")


def test_stop_need_not_wait(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with obedient(directory / "x.pid", "60") as process:
        assert main(["stop", "--wait", "0"]) == 0
        assert process.poll() is None
        assert capfd.readouterr().out == f"trio-lb: process {process.pid} is stopping\n"


@pytest.mark.parametrize("command", ["reload", "stop"])
def test_nobody_is_running(
    command: str, directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for content in (None, f"{os.getpid()}\n"):  # the second one would end these tests
        if content is not None:
            (directory / "x.pid").write_text(content)
        assert main([command]) == 1
        output = capfd.readouterr()
        assert output.err == "trio-lb: no load balancer is running with the pid file x.pid\n"
        assert output.out == ""


@pytest.mark.parametrize("command", ["reload", "stop"])
def test_a_profile_without_a_pid_file(
    command: str, directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is found in the runtime directory, by the profile's name from wherever that is given."""
    (directory / "y.yaml").write_text("servers: http://127.0.0.1:3001\n")
    assert main([command, "-p", "y.yaml"]) == 1
    assert capfd.readouterr().err == (
        "trio-lb: no load balancer is running with the profile y.yaml\n"
    )
    path = default_pid_file("y.yaml")
    assert path is not None
    for name in ("y.yaml", f"../{directory.name}/y.yaml", str(directory / "y.yaml")):
        with obedient(Path(path)) as process:
            assert main([command, "-p", name]) == 0
            assert f"process {process.pid} " in capfd.readouterr().out
            assert command == "stop" or main(["stop", "-p", name]) == 0
            assert process.wait(10) == 0
    with obedient(directory / "y.pid"):
        assert main([command, "-p", "y.yaml", "--pid-file", "y.pid"]) == 0


def test_a_pid_file_may_have_come_into_the_profile_since_the_start(directory: Path) -> None:
    path = default_pid_file("config.yaml")
    assert path is not None
    with obedient(Path(path)) as process:
        assert main(["stop"]) == 0
        assert process.wait(10) == 0


def test_stop_needs_no_right_profile(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (directory / "config.yaml").write_text("retires: 3\n")
    assert main(["stop"]) == 2
    assert "config.yaml:1:1: retires: unknown key" in capfd.readouterr().err
    path = default_pid_file("config.yaml")
    assert path is not None
    with obedient(Path(path)) as process:
        assert main(["reload"]) == 2
        capfd.readouterr()
        assert main(["stop"]) == 0
        assert process.wait(10) == 0
        assert capfd.readouterr().out == f"trio-lb: process {process.pid} has stopped\n"


def test_reload_cannot_wait_for_who_tells_nothing(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with obedient(directory / "x.pid"):
        assert main(["reload", "--wait"]) == 1
        assert capfd.readouterr().err == (
            "trio-lb: cannot read the status of reloads: No such file or directory\n"
        )
        (directory / "x.pid.status").write_text("nonsense")
        assert main(["reload", "--wait", "--timeout", "100ms"]) == 1
        assert "did not report its status within 0.1 s" in capfd.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_of_another_user(directory: Path) -> None:
    directory.chmod(0o755)
    stranger = (  # the first call imports all: the installation may be root's alone
        "import os, sys; from trio_lb.cli import main\n"
        "main(['stop', '--pid-file', 'nothing'])\n"
        "os.setuid(65533)\n"
        "sys.exit(main(['stop', '--pid-file', 'x.pid']))\n"
    )
    with obedient(directory / "x.pid", "0", "65534") as process:
        done = subprocess.run(
            [sys.executable, "-c", stranger],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.splitlines() == [
            "trio-lb: no load balancer is running with the pid file nothing",
            f"trio-lb: process {process.pid} belongs to another user: permission denied",
        ]
        assert running("x.pid") == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
