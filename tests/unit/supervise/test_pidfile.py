"""Pid files, between real processes: a record lock is a process's, so one alone sees nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from trio_lb.supervise.pidfile import PidFileError, find_running, hold_pid_file, running

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[3]

#: Holds a pid file until its input ends.
HOLDER: Final = """\
import os, sys
from trio_lb.errors import TrioLBError
from trio_lb.supervise.pidfile import hold_pid_file

try:
    with hold_pid_file(sys.argv[1]):
        print(os.getpid(), flush=True)
        sys.stdin.read()
        exec(sys.argv[2])
    print("removed", flush=True)
    sys.stdin.close()
    os.read(int(sys.argv[3]), 1)
except TrioLBError as error:
    sys.exit(f"refused: {error}")
"""

Holder = subprocess.Popen[str]


@contextmanager
def holder(path: Path | str, *, before_the_end: str = "", linger: int = -1) -> Iterator[Holder]:
    """A process that holds a pid file; ended by force at the end."""
    end, other = os.pipe()
    os.close(other)
    stays = end if linger < 0 else linger
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path, before_the_end, str(stays)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[stays],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        os.close(end)
        try:
            yield process
        finally:
            process.kill()


def line(process: Holder) -> str:
    """The next line that a process says, "" if it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


def let_go(process: Holder) -> None:
    """Ends a holder's input."""
    assert process.stdin is not None
    process.stdin.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trio-lb.pid"


def test_a_life(path: Path) -> None:
    with holder(path) as process:
        assert line(process) == str(process.pid)
        assert path.read_text() == f"{process.pid}\n"
        assert path.stat().st_mode & 0o777 == 0o644
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]
        assert running(str(path)) == process.pid
        let_go(process)
        assert process.wait(10) == 0
    assert not path.exists()
    assert running(str(path)) is None


def test_a_second_one_is_refused(path: Path) -> None:
    with holder(path) as first:
        assert line(first) == str(first.pid)
        with holder(path) as second:
            assert second.wait(10) == 1
            assert second.stderr is not None
            assert second.stderr.read() == (
                f"refused: a load balancer with the pid file {path} is running already, "
                f"as process {first.pid}\n"
            )
        assert path.read_text() == f"{first.pid}\n"
        assert running(str(path)) == first.pid


def test_one_that_was_killed_leaves_nothing_that_matters(path: Path) -> None:
    with holder(path) as first:
        assert line(first) == str(first.pid)
        first.kill()
        first.wait(10)
    assert path.exists()
    assert running(str(path)) is None
    with holder(path) as second:
        assert line(second) == str(second.pid)
        assert running(str(path)) == second.pid
        assert path.read_text() == f"{second.pid}\n"


@pytest.mark.parametrize("content", ["own\n", "1\n", "", "12", "99999999"])
def test_a_number_without_a_lock_is_nobody(path: Path, content: str) -> None:
    path.write_text(content.replace("own", str(os.getpid())))
    assert running(str(path)) is None


def test_a_number_that_is_not_the_holders_is_nobody(path: Path) -> None:
    with holder(path) as process:
        assert line(process) == str(process.pid)
        path.write_text(f"{os.getpid()}\n")  # in place: the file and its lock stay
        assert running(str(path)) is None


def test_of_many_at_once_one_wins(path: Path) -> None:
    path.write_text("1\n")
    with ExitStack() as stack:
        all_of_them = [stack.enter_context(holder(path)) for _ in range(8)]
        said = [line(process) for process in all_of_them]
        (winner,) = [process for process in all_of_them if str(process.pid) in said]
        assert sorted(filter(None, said)) == [str(winner.pid)]
        assert path.read_text() == f"{winner.pid}\n"
        assert running(str(path)) == winner.pid
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_signals_reach_the_holder_and_its_end_is_seen(path: Path) -> None:
    reader, writer = os.pipe()
    with holder(path, linger=reader) as process:
        os.close(reader)
        assert line(process) == str(process.pid)
        with find_running(str(path)) as found:
            assert found is not None
            assert found.pid == process.pid
            let_go(process)
            assert line(process) == "removed"
            assert not path.exists()
            assert not found.has_ended()  # there is no file any more, but the process
            assert found.signal(signal.SIGTERM)
            assert process.wait(10) == -signal.SIGTERM
            assert found.has_ended()
            assert not found.signal(signal.SIGTERM)
    os.close(writer)


def test_a_file_that_is_another_ones_by_now_is_left_alone(path: Path) -> None:
    replace = "os.unlink(sys.argv[1]); open(sys.argv[1], 'w').write('5')"
    with holder(path, before_the_end=replace) as process:
        assert line(process) == str(process.pid)
        let_go(process)
        assert process.wait(10) == 0
    assert path.read_text() == "5"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop privileges")
def test_where_it_can_not_be_removed_it_is_left_empty(path: Path) -> None:
    with holder(path, before_the_end="os.setuid(65534)") as process:
        assert line(process) == str(process.pid)
        let_go(process)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == (
            f"cannot remove the pid file {path}: Permission denied; it is empty\n"
        )
    assert path.read_text() == ""
    with holder(path) as process:
        assert line(process) == str(process.pid)


def test_what_is_no_pid_file_is_not_overwritten(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("do not lose me\n")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "new")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, said in [
        (str(precious), f"{precious} exists and is not a pid file"),
        (str(pipe), f"{pipe} exists and is not a pid file"),
        (str(tmp_path), f"cannot write the pid file {tmp_path}: Is a directory"),
        (str(link), f"cannot write the pid file {link}: Too many levels of symbolic links"),
        ("/nonexistent/x", "cannot write the pid file /nonexistent/x: No such file or directory"),
    ]:
        with pytest.raises(PidFileError) as caught, hold_pid_file(path):
            pass
        assert str(caught.value) == said
    assert precious.read_text() == "do not lose me\n"
    assert not (tmp_path / "new").exists()
    assert pipe.is_fifo()


def test_what_can_not_be_read(tmp_path: Path) -> None:
    assert running(str(tmp_path / "missing")) is None
    (tmp_path / "x").write_text("")
    with pytest.raises(PidFileError, match=f"^cannot read the pid file {tmp_path}/x/y: Not a dir"):
        running(str(tmp_path / "x" / "y"))


def _can_unshare() -> bool:
    command = ["unshare", "--pid", "--fork", "true"]
    return shutil.which("unshare") is not None and subprocess.run(command).returncode == 0


@pytest.mark.skipif(not _can_unshare(), reason="no process namespaces here")
def test_a_process_of_another_container_is_not_taken_for_one_here(path: Path) -> None:
    ask = (
        "import sys\n"
        "from trio_lb.supervise.pidfile import PidFileError, running\n"
        "try: running(sys.argv[1])\n"
        "except PidFileError as error: print(error)\n"
    )
    with holder(path) as process:
        assert line(process) == str(process.pid)
        done = subprocess.run(
            ["unshare", "--pid", "--fork", sys.executable, "-c", ask, path],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
    assert done.stdout == f"the pid file {path} belongs to a process in another container\n"


def test_a_fifo_is_no_pid_file_and_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with holder(path) as process:
        assert process.wait(10) == 1
        assert process.stderr is not None
        assert "refused: " in process.stderr.read()
    assert running(str(path)) is None
