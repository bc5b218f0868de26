"""Systems that refuse what is optional, as sandboxes do: large bodies pass whole, nobody is blamed.

The real program meets the real error numbers, by a seccomp filter.
"""

from __future__ import annotations

import platform
import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.backend import open_backend
from tests.support.built import needs_fast_path
from tests.support.client import open_client
from tests.support.process import ROOT
from tests.support.refusing import ARCHITECTURES
from tests.support.rig import get, post
from tests.support.supervised import run_supervisor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.backend import Exchange

pytestmark = [
    needs_fast_path,
    pytest.mark.skipif(
        platform.machine() not in ARCHITECTURES, reason="system call numbers are not known"
    ),
]

SIZE = 5_000_000
DATA = bytes(range(250)) * (SIZE // 250)

#: What is refused, how, and what the log says of it: nothing where there is nothing to choose.
REFUSED = {
    "splice, in gVisor": ("splice", "EINVAL", "no splice (Invalid argument): large bodies"),
    "splice, forbidden": ("splice", "EPERM", "no splice (Operation not permitted): large"),
    "eventfd": ("eventfd2", "ENOSYS", "no epoll (Function not implemented): the slow path"),
    "memfd": ("memfd_create", "EPERM", "the table is in a temporary file"),
    "ports for several": ("SO_REUSEPORT", "ENOPROTOOPT", "workers share their listening sockets"),
    "accept4": ("accept4", "ENOSYS", ""),
    "ppoll": ("ppoll", "EPERM", ""),
    "timer slack": ("PR_SET_TIMERSLACK", "EPERM", ""),
    "adopting orphans": ("PR_SET_CHILD_SUBREAPER", "EPERM", "no zygote (Operation not permitted)"),
    "pidfd": ("pidfd_open", "ENOSYS", "no zygote (Function not implemented)"),
    "all of it": (
        "splice,eventfd2,memfd_create,SO_REUSEPORT,accept4,ppoll,PR_SET_TIMERSLACK,pidfd_open",
        "ENOSYS", "no epoll (",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_is_done_without(name: str, tmp_path: Path) -> None:
    calls, code, said = REFUSED[name]

    async def mirror(exchange: Exchange) -> None:
        await exchange.read_body()
        if exchange.request.method == "POST":
            await exchange.respond(str(exchange.request.body_size).encode())
        else:
            await exchange.respond(DATA)

    through = [sys.executable, str(ROOT / "tests/support/refusing.py"), code, calls]
    async with (
        open_backend(mirror) as backend,
        run_supervisor(
            tmp_path,
            backend.url,
            through=through,
            log_level="debug",
            workers=2 if "SO_REUSEPORT" in calls else 1,
            health_check={"fall": 1, "interval": "0.5s"},
        ) as program,
    ):
        for _ in range(2):
            async with open_client(program.url) as client:
                await client.send(get())
                response = await client.read_response()
                assert (response.status, response.body == DATA) == (200, True)
                await client.send(post(DATA))
                assert (await client.read_response()).body == str(SIZE).encode()

        program.child.signal(signal.SIGTERM)
        assert await program.child.wait() == 0
        assert not re.search("-> dead|fail|ERROR", program.child.output), program.child.output
        assert said in program.child.output


LATE = """
import errno, sys
import trio
sys.path.insert(0, {root!r})
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client
from tests.support.refusing import refuse
from tests.support.rig import get

DATA = bytes(range(250)) * 40_000

async def main():
    async def script(exchange):
        await exchange.respond(DATA)
    async with (
        open_backend(script) as backend,
        open_balancer(backend.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as slow,
        open_client(balancer.addresses[0]) as quick,
    ):
        fast_path = balancer._service._plain.fast_path
        await slow.send(get())
        while not fast_path.borrowed:        # a pipe is full, since this client takes nothing
            await trio.sleep(0.01)
        await trio.sleep(0.5)
        assert not fast_path.pipe_problem
        refuse(getattr(errno, sys.argv[1]), "splice")
        await quick.send(get())
        for client in (quick, slow):
            response = await client.read_response()
            assert response.complete and response.body == DATA, response.end
        assert fast_path.pipe_problem == getattr(errno, sys.argv[1])
        await trio.sleep(0.1)
        assert not fast_path.borrowed
        [server] = balancer.statistics().servers
        assert (server.state, server.failed) == ("alive", 0)

trio.run(main)
"""


@pytest.mark.parametrize("code", ["EINVAL", "EPERM", "ENOSYS"])
async def test_what_no_longer_works_loses_nothing_that_is_in_a_pipe(code: str) -> None:
    command = [sys.executable, "-c", LATE.format(root=str(ROOT)), code]
    result = await trio.run_process(command, capture_stderr=True, check=False)
    assert result.returncode == 0, result.stderr.decode()


def test_a_system_that_does_not_tell_what_watches_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc our epoll is waited for in Trio's loop each time."""
    from trio_lb.fast import loop

    class Nowhere:
        def __init__(self, _: str) -> None: ...

        def glob(self, _: str) -> list[object]:
            return []

    monkeypatch.setattr(loop, "Path", Nowhere)

    async def watch() -> int:
        epoll = loop.Epoll()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(epoll.watch_forever)
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0.05)
            fd = epoll.waits.fd
            nursery.cancel_scope.cancel()
        epoll.close()
        return fd

    assert trio.run(watch) == -1
