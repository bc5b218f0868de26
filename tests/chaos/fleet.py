"""The processes of a chaos run: servers, balancer, clients; and a resolver that fails when told to.

async with open_fleet(directory, fast_path=True) as fleet:
    fleet.servers[0].kill()       # another one is started at its port in a moment
    fleet.names.write_text("fail")
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from tests.chaos.plan import SERVERS
from tests.support.net import free_port, http_url
from tests.support.process import ROOT, run_process, wait_listening
from tests.support.supervised import run_supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.process import Child
    from tests.support.supervised import Program

#: Imported by every Python process of the balancer at its start: names that end in .chaos are
#: looked up as the file CHAOS_NAMES says.
_RESOLVER = """
import os, socket, time
_ask = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    if not (isinstance(name, str) and name.endswith(".chaos")):
        return _ask(host, *args, **kwargs)
    with open(os.environ["CHAOS_NAMES"]) as file:
        mode = file.read()
    if mode == "slow":
        time.sleep(1.5)
    if mode == "fail":
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return _ask("127.0.0.1", *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""

#: Of the profile. Servers have longer than any stop of a worker takes; what they are given by
#: others' stops, `permitted` says.
SETTINGS: dict[str, Any] = {
    "timeout": "4s",
    "timeouts": {"drain": "10s", "connect": "4s", "half_closed": "5s"},
    "upstream": {"idle_timeout": "1s"},
    "report_interval": "500ms",
    "health_check": {"path": "/well", "interval": "500ms", "timeout": "500ms"},
}


class Server:
    """A server, whichever process it is at the moment.

    Attributes:
        pid: of its process; None between two.
        pause: seconds between the end of one and the start of the next.
    """

    def __init__(self, number: int, log: Path) -> None:
        self.number = number
        self.port = free_port()
        self.pid: int | None = None
        self.pause = 0.0
        self._log = log

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keeps a process running."""
        arguments = [str(self.number), str(self.port), str(self._log)]
        command = [sys.executable, "-m", "tests.chaos.server", *arguments]
        first = True
        while True:
            async with run_process(command, env={"PYTHONPATH": str(ROOT)}) as child:
                self.pid = child.pid
                if first:
                    await wait_listening(http_url("127.0.0.1", self.port), child, within=30)
                    task_status.started()
                    first = False
                await child.process.wait()
                self.pid = None
            assert "Traceback" not in child.output, child.output
            await trio.sleep(self.pause)

    def kill(self, pause: float) -> None:
        """Kills it; the next one comes so many seconds later."""
        self.pause = pause
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Fleet:
    """All of them; see `open_fleet`.

    Attributes:
        program: the balancer.
        servers: see there.
        clients: the processes of clients that run now.
        names: says how names are looked up: "", "slow" or "fail".
        saved: reports of the balancer, as JSON lines.
    """

    def __init__(self, directory: Path) -> None:
        self.program: Program
        self.log = directory / "servers.log"
        self.names = directory / "names"
        self.saved = directory / "saved.jsonl"
        self.servers = [Server(number, self.log) for number in range(SERVERS)]
        self.clients: list[Child] = []
        self._read = 0

    @property
    def port(self) -> int:
        """Where the balancer listens."""
        port = urlsplit(self.program.url).port
        assert port is not None
        return port

    @property
    def urls(self) -> list[str]:
        """Of the servers; the first one has a name."""
        hosts = ["zero.chaos", "127.0.0.1", "127.0.0.1"]
        return [
            http_url(host, server.port) for host, server in zip(hosts, self.servers, strict=True)
        ]

    def new_lines(self) -> list[str]:
        """What servers have logged since it was asked for last."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        return data.decode().splitlines()

    async def run_client(self, orders: str, results: list[str]) -> None:
        """Runs a process of clients, and collects what it has found, as JSON."""
        command = [sys.executable, "-m", "tests.chaos.client", orders]
        async with run_process(command, env={"PYTHONPATH": str(ROOT)}) as child:
            self.clients.append(child)
            status = await child.process.wait()
            self.clients.remove(child)
        assert status == 0, child.output
        results += child.stdout


@asynccontextmanager
async def open_fleet(directory: Path, fast_path: bool) -> AsyncIterator[Fleet]:
    """Runs servers and a balancer over them, in a directory of their own."""
    fleet = Fleet(directory)
    fleet.log.touch()
    fleet.names.touch()
    (directory / "sitecustomize.py").write_text(_RESOLVER)
    path = f"{directory}{os.pathsep}{ROOT}"
    async with trio.open_nursery() as nursery:
        for server in fleet.servers:
            await nursery.start(server.run)
        async with run_supervisor(
            directory,
            *fleet.urls,
            options=["--save", fleet.saved],
            env={"PYTHONPATH": path, "CHAOS_NAMES": str(fleet.names)},
            fast_path=fast_path,
            **SETTINGS,
        ) as fleet.program:
            yield fleet
        nursery.cancel_scope.cancel()
