"""Does harm to the processes of a chaos run, one thing at a time, as a seed says."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from tests.chaos.oracle import Circumstance
from tests.support.supervised import is_gone

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from tests.chaos.fleet import Fleet

#: Seconds that a process is stopped, at most. A worker that is stopped for 4 s is killed by its
#: supervisor, which is another kind of harm.
LONG = 5.0
SHORT = 3.0
#: Seconds between two kinds of harm, at most.
PAUSE = 1.0


class Injector:
    """The doer; `done` says what it has done when, in seconds from its start."""

    def __init__(self, fleet: Fleet, rng: random.Random, kinds: Sequence[Circumstance]) -> None:
        self._fleet = fleet
        self._rng = rng
        self._kinds = kinds
        self._started = trio.current_time()
        self.done: list[tuple[float, str]] = []
        self._ways: dict[Circumstance, Callable[[], Awaitable[None]]] = {
            Circumstance.SERVER_STOPPED: self._stop_server,
            Circumstance.SERVER_KILLED: self._kill_server,
            Circumstance.WORKER_STOPPED: self._stop_worker,
            Circumstance.WORKER_KILLED: self._kill_worker,
            Circumstance.SUPERVISOR_STOPPED: self._stop_supervisor,
            Circumstance.CLIENT_STOPPED: self._stop_client,
            Circumstance.RELOAD: self._reload,
            Circumstance.NAMES_FAIL: self._fail_names,
            Circumstance.DRAIN: trio.lowlevel.checkpoint,  # its time is the runner's to choose
        }

    async def run(self) -> None:
        """Does one thing after the other, until cancelled."""
        while self._kinds:
            await trio.sleep(self._rng.uniform(0.2, PAUSE))
            await self._ways[self._rng.choice(self._kinds)]()

    def _note(self, text: str) -> None:
        self.done.append((round(trio.current_time() - self._started, 2), text))

    async def _stop_server(self) -> None:
        server = self._rng.choice(self._fleet.servers)
        await self._stop(server.pid, f"server {server.number}", LONG)

    async def _kill_server(self) -> None:
        server = self._rng.choice(self._fleet.servers)
        pause = self._rng.uniform(0.1, 1.0)
        self._note(f"server {server.number} killed, for {pause:.1f} s")
        server.kill(pause)
        # The next one is left alone until this one is back, and the balancer knows it.
        await trio.sleep(pause + 3)

    async def _stop_worker(self) -> None:
        if pids := self._fleet.program.pids:
            await self._stop(self._rng.choice(pids), "a worker", SHORT)

    async def _kill_worker(self) -> None:
        if pids := self._fleet.program.pids:
            pid = self._rng.choice(pids)
            self._note(f"worker {pid} killed")
            os.kill(pid, signal.SIGKILL)
            await trio.sleep(1.5)

    async def _stop_supervisor(self) -> None:
        await self._stop(self._fleet.program.child.pid, "the supervisor", LONG)

    async def _stop_client(self) -> None:
        if clients := self._fleet.clients:
            await self._stop(self._rng.choice(clients).pid, "clients", LONG)

    async def _reload(self) -> None:
        self._note("reload")
        self._fleet.program.child.signal(signal.SIGHUP)
        await trio.sleep(self._rng.uniform(0, 2))

    async def _fail_names(self) -> None:
        mode = self._rng.choice(["slow", "fail"])
        seconds = self._rng.uniform(0.2, 2)
        self._note(f"names: {mode} for {seconds:.1f} s")
        try:
            self._fleet.names.write_text(mode)
            await trio.sleep(seconds)
        finally:
            self._fleet.names.write_text("")

    async def _stop(self, pid: int | None, name: str, most: float) -> None:
        """Stops a process for a while."""
        if pid is None or is_gone(pid):
            return
        seconds = self._rng.uniform(0.1, most)
        self._note(f"{name} ({pid}) stopped for {seconds:.1f} s")
        try:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
            await trio.sleep(seconds)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
