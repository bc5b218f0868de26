"""Real processes for tests: the balancer itself, and peers from Debian.

Every process is started in a session of its own and is ended with all that it has started when its
block is left, however the test went.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.net import dial, free_port, http_url
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]

#: In the environment of every process that is started here, and of those that it starts.
MARK = "TRIO_LB_TEST_PROCESS"

#: Seconds that a process may outlive the one that has started it.
OUTLIVE = 20.0

#: What a process of ours must never write: the tests end with an error if it does.
UNWANTED = re.compile(r"Traceback|ResourceWarning|RuntimeWarning")


class Child:
    """A running process; see `run_process`."""

    process: trio.Process

    def __init__(self) -> None:
        self.lines: list[str] = []  # of both streams, as they came
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self.mark = f"{MARK}={uuid.uuid4().hex}"
        self.survivors: list[int] = []  # of it and its children, when it had ended
        self._searched = 0
        self._readers = 2
        self._news = trio.Event()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def descendants(self) -> list[int]:
        """The processes that it has started, and theirs, also when it has ended itself (Linux)."""
        return [pid for pid in marked(self.mark) if pid != self.pid]

    @property
    def output(self) -> str:
        """All it has written to stdout and stderr."""
        return "\n".join(self.lines)

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    async def wait_line(self, pattern: str, *, within: float = PATIENCE) -> re.Match[str]:
        """Waits for a line that matches, after the one that was waited for last.

        Raises:
            AssertionError: it didn't come `within` seconds, or the process ended without it.
        """
        with trio.move_on_after(within):
            while True:
                while self._searched < len(self.lines):
                    self._searched += 1
                    if found := re.search(pattern, self.lines[self._searched - 1]):
                        return found
                if not self._readers:
                    raise AssertionError(f"ended without {pattern!r}:\n{self.output}")
                await self._news.wait()
        raise AssertionError(f"no {pattern!r} within {within} s:\n{self.output}")

    async def wait(self, *, within: float = PATIENCE) -> int:
        """Waits for its end; returns the exit status, after all its output was read.

        Raises:
            AssertionError: it didn't end `within` seconds.
        """
        with trio.move_on_after(within):
            status = await self.process.wait()
            while self._readers:
                await self._news.wait()
            return status
        raise AssertionError(f"still running after {within} s:\n{self.output}")

    async def read(self, stream: trio.abc.ReceiveStream, lines: list[str]) -> None:
        """Collects the lines of one of its streams, and closes it."""
        rest = b""
        async with stream:
            async for data in stream:
                *whole, rest = (rest + data).split(b"\n")
                self._add(lines, whole)
        self._readers -= 1
        self._add(lines, [rest] if rest else [])

    def _add(self, lines: list[str], new: list[bytes]) -> None:
        texts = [line.decode(errors="replace").rstrip("\r") for line in new]
        lines += texts
        self.lines += texts
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def run_process(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    grace: float = 5.0,
) -> AsyncIterator[Child]:
    """Runs a process, which at the end gets TERM and, `grace` seconds later, KILL.

    Args:
        command: program and arguments.
        cwd: its working directory.
        env: variables that are added to the environment.
        grace: seconds.
    """
    async with trio.open_nursery() as nursery:
        child = Child()
        child.process = process = await trio.lowlevel.open_process(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**os.environ, **(env or {}), **dict([child.mark.split("=")])},
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        nursery.start_soon(child.read, process.stdout, child.stdout)
        nursery.start_soon(child.read, process.stderr, child.stderr)
        try:
            yield child
        finally:
            with trio.CancelScope(shield=True):
                await _end(child, grace)
        await child.wait(within=grace)


async def _end(child: Child, grace: float) -> None:
    """Ends a process and what it has started."""
    process = child.process
    if process.returncode is None:
        process.terminate()
        with trio.move_on_after(grace):
            await process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    with trio.move_on_after(OUTLIVE):
        while child.descendants:  # noqa: ASYNC110
            await trio.sleep(0.05)
    child.survivors = child.descendants
    for pid in child.survivors:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def marked(mark: str) -> list[int]:
    """Returns the living processes that have `NAME=VALUE` in their environment (Linux)."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if mark.encode() in (directory / "environ").read_bytes().split(b"\0"):
                found.append(int(directory.name))
    return found


@asynccontextmanager
async def run_balancer(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    through: Sequence[str] = (),
) -> AsyncIterator[Child]:
    """Runs `python -m trio_lb ARGUMENTS` from this source tree, in development mode.

    Args:
        arguments: of the command line.
        cwd: its working directory.
        env: variables that are added to the environment.
        through: a program and its arguments that start it by `exec`.

    Raises:
        AssertionError: at the end, if it has written a traceback or a warning, or a process of it
            has outlived it for too long.
    """
    command = [sys.executable, "-m", "trio_lb", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDEVMODE": "1", **(env or {})}
    async with run_process([*through, *command], cwd=cwd, env=environment) as child:
        yield child
    assert not UNWANTED.search(child.output), child.output
    assert not child.survivors, child.output


@asynccontextmanager
async def run_nginx(
    directory: Path, server: str, *, http: str = "", port: int | None = None
) -> AsyncIterator[str]:
    """Runs nginx in the foreground (one process, any user) and gives its URL once it listens.

    Tests that use it are marked with `needs("nginx")`.

    Args:
        directory: for its configuration and temporary files.
        server: contents of the server block, without `listen`.
        http: what is added to the http block.
        port: to listen on; default: a free one.
    """
    port = port or free_port()
    temporary = "".join(
        f"  {kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = directory / f"nginx-{port}.conf"
    configuration.write_text(
        "daemon off;\nmaster_process off;\n"
        f"pid {directory}/nginx-{port}.pid;\n"
        "events {}\n"
        f"http {{\n  access_log off;\n{temporary}{http}\n"
        f"  server {{\n    listen 127.0.0.1:{port};\n{server}\n  }}\n}}\n"
    )
    command: list[str | Path] = [
        find("nginx") or "nginx",
        "-e",
        "stderr",
        "-p",
        directory,
        "-c",
        configuration,
    ]
    async with run_process(command) as child:
        url = http_url("127.0.0.1", port)
        await wait_listening(url, child)
        yield url


async def wait_listening(url: str, child: Child, *, within: float = PATIENCE) -> None:
    """Waits until a process accepts connections at `url`.

    Raises:
        AssertionError: it doesn't `within` seconds, or it ended.
    """
    with trio.move_on_after(within):
        while child.process.poll() is None:
            with suppress(OSError):
                stream = await dial(url)
                stream.socket.close()
                return
            await trio.sleep(0.02)
    raise AssertionError(f"nothing listens at {url}:\n{child.output}")


def needs(*programs: str) -> pytest.MarkDecorator:
    """Returns a mark that skips a test, with the reason, where one of `programs` is missing."""
    missing = [program for program in programs if find(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def find(program: str) -> str | None:
    """Returns the path of a program, also of those that only root has in the PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


@dataclass(frozen=True)
class ProcessUsage:
    """What a process holds now."""

    rss_bytes: int
    descriptors: int
    threads: int


def process_usage(pid: int | None = None) -> ProcessUsage:
    """Returns what the process `pid`, by default this one, holds (Linux, from /proc)."""
    directory = Path("/proc", str(pid or os.getpid()))
    status = dict(line.split(":\t", 1) for line in (directory / "status").read_text().splitlines())
    return ProcessUsage(
        rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
        descriptors=len(os.listdir(directory / "fd")) - (pid is None),  # without the listing's own
        threads=int(status["Threads"]),
    )


def cpu_seconds(pid: int) -> float:
    """Returns how long a process has worked (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
