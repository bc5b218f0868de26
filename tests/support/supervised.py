"""A supervisor with real worker processes, in the test's own Trio run or as a program.

async with open_supervisor(backend.url, workers=3) as balancer:
    os.kill(balancer.pids[0], signal.SIGKILL)
    await until(lambda: len(balancer.pids) == 3)
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.balancer import CHECK_PATH, profile_of
from tests.support.process import UNWANTED, run_balancer
from tests.support.waiting import PATIENCE
from trio_lb.pool import Counters
from trio_lb.supervise.notify import Notifier
from trio_lb.supervise.sockets import ListeningSockets
from trio_lb.supervise.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from tests.support.process import Child
    from trio_lb import Profile
    from trio_lb.observe.statistics import Statistics

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def until(condition: Callable[[], object], *, within: float = PATIENCE) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it does not hold after so many seconds.
    """
    with trio.move_on_after(within):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.02)
        return
    raise AssertionError("what was waited for did not happen")


def workers_of(pid: int) -> list[int]:
    """The worker processes of a supervisor, oldest first."""
    return sorted(child for child in _children(pid) if _kind(child) == "worker")


def zygotes_of(pid: int) -> list[int]:
    """Those from which a supervisor has its workers forked, oldest first."""
    return sorted(child for child in _children(pid) if _kind(child) == "zygote")


def _children(pid: int) -> set[int]:
    children: set[int] = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        children.update(map(int, (thread / "children").read_text().split()))
    return children


def _kind(pid: int) -> str:
    """What a child of a supervisor is; a worker has the command line of what it is forked from."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
    if b"trio_lb.supervise.worker" in command:
        return "worker"
    if b"trio_lb.supervise.zygote" not in command:  # also one that has ended
        return ""
    return "worker" if name == "trio-lb-worker" else "zygote"


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has ended too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Supervised:
    """A supervisor in this process; see `open_supervisor`.

    Attributes:
        profile: what a reload will find; an exception is raised there.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile: Profile | Exception = profile
        self.supervisor = Supervisor(profile, self._load, ListeningSockets(), Notifier({}), [])

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.supervisor.addresses[0]

    @property
    def pids(self) -> list[int]:
        """Its workers."""
        return workers_of(os.getpid())

    @property
    def zygotes(self) -> list[int]:
        """What its workers are forked from."""
        return zygotes_of(os.getpid())

    @property
    def at_work(self) -> dict[int, int]:
        """The rows of the table by the workers that count there."""
        table = self.supervisor._table.table
        return {pid: row for row in range(table.rows) if (pid := table.process(row)[0])}

    def served_by(self, row: int) -> int:
        """How many requests a worker has served, by its row."""
        return sum(Counters(self.supervisor._table.table).read(row).classes)

    def statistics(self) -> Statistics:
        """Totals over all workers."""
        return self.supervisor.statistics()

    @property
    def reloads_ended(self) -> int:
        """How many have, well or not."""
        return self.supervisor.reloads._status.ended

    async def reload(self, *servers: object, within: float = PATIENCE, **settings: object) -> None:
        """Reload with another profile, and wait until that serves, for so many seconds."""
        self.profile = profile = supervised_profile(*servers, **settings)
        before = self.reloads_ended
        self.supervisor.reload()
        await until(
            lambda: self.supervisor.profile is profile and self.reloads_ended > before,
            within=within,
        )

    async def end(self) -> bool:
        """Drain it; whether nothing was cut."""
        self.supervisor.drain()
        with trio.fail_after(PATIENCE):
            while not self.supervisor.ended:  # noqa: ASYNC110
                await trio.sleep(0.02)
        return self.supervisor.clean

    def _load(self) -> Profile:
        if isinstance(self.profile, Exception):
            raise self.profile
        return self.profile


def supervised_profile(*servers: object, **settings: object) -> Profile:
    """Like `profile_of`, with two workers and a short drain unless told otherwise."""
    return profile_of(*servers, **{"workers": 2, "timeouts": {"drain": "3s"}} | settings)


@asynccontextmanager
async def open_supervisor(*servers: object, **settings: object) -> AsyncIterator[Supervised]:
    """Run a supervisor whose workers accept clients; at the end nothing of it is left.

    Arguments as for `profile_of`.

    Raises:
        AssertionError: at the end, if a worker has written a traceback or a warning.
    """
    supervised = Supervised(supervised_profile(*servers, **settings))
    supervisor = supervised.supervisor
    with _nothing_unwanted():
        async with trio.open_nursery() as nursery:
            await supervisor.bind()
            nursery.start_soon(supervisor.run)
            with trio.fail_after(PATIENCE):
                await supervisor.up.wait()
            try:
                yield supervised
            finally:
                nursery.cancel_scope.cancel()
        assert not supervised.pids
        assert not zygotes_of(os.getpid())


@contextmanager
def _nothing_unwanted() -> Iterator[None]:
    """Fails if a worker, in development mode, writes a traceback or a warning."""
    with (
        tempfile.TemporaryFile("w+") as file,
        ExitStack() as stack,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PYTHONDEVMODE", "1")
        ours = os.dup(2)
        stack.callback(os.close, ours)
        os.dup2(file.fileno(), 2)
        stack.callback(os.dup2, ours, 2)
        yield
        file.seek(0)
        errors = file.read()
    print(errors, file=sys.stderr)
    assert not UNWANTED.search(errors), errors


class Program:
    """`trio-lb start` as a process; see `run_supervisor`."""

    def __init__(self, child: Child, url: str, profile: Path) -> None:
        self.child = child
        self.url = url
        self.profile = profile

    @property
    def pids(self) -> list[int]:
        """Its workers."""
        return workers_of(self.child.pid)

    def write(self, servers: Iterable[object], **settings: object) -> None:
        """Write its profile anew."""
        write_profile(self.profile, servers, **settings)


def write_profile(path: Path, servers: Iterable[object], **settings: object) -> None:
    """Write a profile, by default with any free port, two workers and health checks apart."""
    keys: dict[str, object] = {
        "listen": "http://127.0.0.1:0",
        "servers": list(servers),
        "workers": 2,
        "health_check": {"path": CHECK_PATH},
    }
    path.write_text(json.dumps(keys | settings, indent=1))


@asynccontextmanager
async def run_supervisor(
    directory: Path,
    *servers: object,
    options: Sequence[str | Path] = (),
    through: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    **settings: object,
) -> AsyncIterator[Program]:
    """Run `trio-lb start` with a profile in a directory, and wait until it serves.

    Args:
        directory: its working directory, where it finds `config.yaml`.
        servers: of the profile.
        options: of the command line.
        through: see `run_balancer`.
        env: variables that are added to the environment.
        settings: other keys of the profile.
    """
    profile = directory / "config.yaml"
    write_profile(profile, servers, **settings)
    async with run_balancer("start", *options, cwd=directory, env=env, through=through) as child:
        found = await child.wait_line(r"listening on (\S+?)(?:, \S+)*: ")
        yield Program(child, found[1], profile)
