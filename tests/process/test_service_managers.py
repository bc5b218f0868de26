"""What service managers and their users do to it: sockets, notices, reload and stop."""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import besides_checks
from tests.support.client import open_client, request
from tests.support.net import free_port, http_url
from tests.support.process import ROOT, run_process
from tests.support.supervised import open_supervisor, run_supervisor, until
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

OK = besides_checks(scripts.answer())

#: Passes on two listening sockets, at a port and at a path, as systemd does.
ACTIVATE = """\
import os, socket, sys
inet = socket.create_server(("127.0.0.1", int(sys.argv[1])))
unix = socket.socket(socket.AF_UNIX)
unix.bind(sys.argv[2])
unix.listen()
numbers = [os.dup(inet.fileno()), os.dup(unix.fileno())]
for number, descriptor in enumerate(numbers, 3):
    os.dup2(descriptor, number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2")
os.execv(sys.argv[3], sys.argv[3:])
"""


async def test_passed_sockets_take_the_place_of_listen(tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "x.sock"
    async with (
        open_backend(OK) as backend,
        run_supervisor(
            tmp_path,
            backend.url,
            through=[sys.executable, "-c", ACTIVATE, str(port), str(path)],
            workers=3,
        ) as balancer,
    ):
        urls = [http_url("127.0.0.1", port), f"unix:{path}"]
        assert f"listening on {', '.join(urls)}: " in balancer.child.output
        assert len(balancer.pids) == 3
        for _ in range(2):
            assert {(await request(url)).status for url in urls * 5} == {200}
            balancer.child.signal(signal.SIGHUP)
            await balancer.child.wait_line("reloaded")
        balancer.child.signal(signal.SIGTERM)
        assert await balancer.child.wait() == 0
        assert path.exists()  # it is the service manager's


@contextmanager
def manager(path: Path) -> Iterator[trio.socket.SocketType]:
    """The service manager's end of its socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.setblocking(False)
        yield trio.socket.from_stdlib_socket(sock)


async def test_a_service_manager_is_told(tmp_path: Path) -> None:
    with manager(tmp_path / "notify") as notices:

        async def next_notice() -> dict[str, str]:
            with trio.fail_after(PATIENCE):
                while True:
                    lines = (await notices.recv(4096)).decode().splitlines()
                    notice = dict(line.split("=", 1) for line in lines)
                    if "WATCHDOG" not in notice:
                        return notice

        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        async with (
            open_backend(OK) as backend,
            run_supervisor(tmp_path, backend.url, env=env) as balancer,
            open_client(balancer.url),
        ):
            ready = await next_notice()
            assert ready == {"READY": "1", "STATUS": f"1 server at {balancer.url}"}
            with trio.fail_after(PATIENCE):
                assert await notices.recv(4096) == b"WATCHDOG=1"
            for change in (lambda: None, lambda: balancer.profile.write_text("retires: 3")):
                change()
                balancer.child.signal(signal.SIGHUP)
                assert (await next_notice())["RELOADING"] == "1"
                assert await next_notice() == ready
            balancer.child.signal(signal.SIGTERM)
            stopping = await next_notice()
            assert (stopping["STOPPING"], stopping["STATUS"]) == ("1", "draining")
            assert await balancer.child.wait() == 0


def command_of(pid: int) -> list[str]:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


async def test_workers_run_with_the_options_of_the_interpreter(tmp_path: Path) -> None:
    again = "import os, sys; os.execv(sys.executable, [sys.executable, *%r, *sys.argv[2:]])"
    options = ["-B", "-Werror::BytesWarning", "-X", "no_debug_ranges"]
    through = [sys.executable, "-c", again % options]
    async with (
        open_backend(OK) as backend,
        run_supervisor(tmp_path, backend.url, through=through) as balancer,
    ):
        assert (await request(balancer.url)).status == 200
        for pid in balancer.pids:
            command = command_of(pid)
            assert "-B" in command
            assert "-Werror::BytesWarning" in command
            assert command[command.index("-X") + 1] == "no_debug_ranges"


async def test_reload_and_stop(tmp_path: Path) -> None:
    async def command(name: str) -> tuple[int, str]:
        arguments = [sys.executable, "-m", "trio_lb", name]
        async with run_process(arguments, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as child:
            return await child.wait(), child.output

    async with (
        open_backend(OK) as backend,
        run_supervisor(tmp_path, backend.url, pid_file="x.pid") as balancer,
        open_client(balancer.url),
    ):
        balancer.write([backend.url], pid_file="x.pid", workers=1)
        status, output = await command("reload")
        assert (status, f"process {balancer.child.pid} " in output) == (0, True)
        await balancer.child.wait_line("reloaded")
        await until(lambda: len(balancer.pids) == 1)
        status, output = await command("stop")
        assert output == f"trio-lb: process {balancer.child.pid} has stopped"
        assert status == 0
        assert await balancer.child.wait() == 0
        assert not (tmp_path / "x.pid").exists()
        assert (await command("stop"))[0] == 1


async def test_modules_in_the_working_directory_are_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "select.py").write_text("raise SystemExit('not this one')\n")
    monkeypatch.chdir(tmp_path)
    async with open_backend(OK) as backend, open_supervisor(backend.url) as balancer:
        assert (await request(balancer.url)).status == 200
