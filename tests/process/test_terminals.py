"""A real terminal: what is on its screen, whoever writes, and what happens when it is closed."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager, suppress
from select import select
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.net import free_port
from tests.support.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PATIENCE: Final = 20.0


class Terminal:
    """A process with a terminal of its own, and what is seen there."""

    def __init__(
        self, *arguments: str, controlling: bool, columns: int = 110, lines: int = 40
    ) -> None:
        self.screen = Screen(columns, lines)
        self.master, slave = pty.openpty()
        self._set_size(slave)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SESSION if controlling else _PLAIN, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "TERM": "xterm",
                "PYTHONIOENCODING": "utf-8",
            },
        )
        os.close(slave)
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a character

    def _set_size(self, descriptor: int) -> None:
        size = struct.pack("4H", self.screen.lines, self.screen.columns, 0, 0)
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, size)

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(columns, lines)
        self._set_size(self.master)

    def hang_up(self) -> None:
        """Close our end; its number stays taken, since it is closed once more at the end."""
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), self.master)

    def until(self, condition: Callable[[], object]) -> None:
        """Read until a condition holds."""
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{self.screen.scrolled}\n{self.screen.text}"
            if select([self.master], [], [], 0.1)[0]:
                with suppress(OSError):  # everybody has left it
                    self.screen.feed(self._decoder.decode(os.read(self.master, 65536)))

    @property
    def all_lines(self) -> list[str]:
        """What has scrolled off, and what is seen."""
        return [*(line.rstrip() for line in self.screen.scrolled), *self.screen.text.split("\n")]

    def is_stopped(self) -> bool:
        with open(f"/proc/{self.process.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"


#: The controlling terminal is the one that it is started with.
_SESSION = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from trio_lb.cli import main
sys.exit(main(sys.argv[1:]))
"""

#: Without one, nobody is told by a signal that it is gone.
_PLAIN = "import sys; from trio_lb.cli import main; sys.exit(main(sys.argv[1:]))"


@contextmanager
def terminal(*arguments: str, controlling: bool = True) -> Iterator[Terminal]:
    opened = Terminal(*arguments, controlling=controlling)
    try:
        yield opened
    finally:
        opened.process.send_signal(signal.SIGCONT)
        opened.process.kill()
        opened.process.wait()
        os.close(opened.master)


@pytest.fixture
def profile(tmp_path: Path) -> str:
    path = tmp_path / "x.yaml"
    path.write_text(
        f"listen: http://127.0.0.1:{free_port()}\nservers: http://127.0.0.1:1\nworkers: 2\n"
        f"report_interval: 0.2s\nhealth_check: off\naccess_log: {tmp_path}/log/a.log\n"
    )
    (tmp_path / "log").mkdir()
    return str(path)


def test_lines_of_all_processes_are_above_one_table(profile: str, tmp_path: Path) -> None:
    """A worker says that its log can't be written; the supervisor, that one has died."""
    with terminal("start", profile, "-r") as seen:
        seen.until(lambda: "LB Summary" in seen.screen.text)
        seen.until((tmp_path / "log" / "a.log").exists)
        (tmp_path / "log" / "a.log").unlink()
        (tmp_path / "log").rmdir()
        listen = "listening on (http://[0-9.:]+): round_robin over 1 server, 1 alive"
        seen.until(lambda: re.search(listen, "\n".join(seen.all_lines)))
        url = re.findall(listen, "\n".join(seen.all_lines))[0]
        for _ in range(4):
            subprocess.run(["curl", "-s", url], check=True)
        told = "WARNING cannot write the access log "
        seen.until(lambda: re.search(told, seen.screen.text))
        seen.until(lambda: "Requests               4" in seen.screen.text)
        assert seen.screen.text.count("LB Summary") == 1
        assert "\n".join(seen.all_lines).count("LB Summary") == 1
        seen.process.send_signal(signal.SIGTERM)
        seen.until(lambda: seen.process.poll() is not None)
        seen.until(lambda: "drained" in seen.screen.text and seen.screen.cursor_shown)
        lines = seen.screen.text.split("\n")
        assert sum(line.startswith("Address") for line in lines) == 1


def test_nothing_is_left_behind_by_a_resize_or_by_ctrl_z(profile: str) -> None:
    with terminal("start", profile, "-r") as seen:
        seen.until(lambda: "LB Summary" in seen.screen.text)
        seen.resize(60, 30)
        uptime = r"Uptime +00:00:0(\d)"
        before = re.search(uptime, seen.screen.text)
        assert before is not None
        seen.until(
            lambda: (
                (now := re.search(uptime, seen.screen.text)) and int(now[1]) > int(before[1]) + 1
            )
        )
        assert seen.screen.text.count("LB Summary") == 1
        assert seen.screen.text.count("Address") == 1
        assert "127.0.0.1:1 " in seen.screen.text
        os.write(seen.master, b"\x1a")  # Ctrl-Z
        seen.until(seen.is_stopped)
        seen.until(lambda: "LB Summary" not in seen.screen.text and seen.screen.cursor_shown)
        seen.process.send_signal(signal.SIGCONT)
        seen.until(lambda: "LB Summary" in seen.screen.text)
        assert seen.screen.text.count("LB Summary") == 1


@pytest.mark.parametrize("how", ["hung up", "gone"])
def test_the_demo_ends_with_its_terminal(how: str) -> None:
    with terminal("demo", controlling=how == "hung up") as seen:
        seen.until(lambda: "LB Summary" in seen.screen.text)
        seen.hang_up()
        assert seen.process.wait(_PATIENCE) == 0
