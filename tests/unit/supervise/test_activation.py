"""Sockets that a service manager passes: taken over, checked, and not handed on."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.net import free_port
from trio_lb.errors import ListenError
from trio_lb.supervise import activation
from trio_lb.supervise.activation import address_of, passed_sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIRST: Final = 600
"""In place of 3, which is taken in this process."""


@pytest.fixture
def hand_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, str]]]:
    """Puts descriptors where passed ones are, inheritable; gives the environment for it."""
    monkeypatch.setattr(activation, "_FIRST", _FIRST)
    taken = []

    def place(*sources: int, names: str | None = None) -> dict[str, str]:
        for descriptor, source in enumerate(sources, _FIRST):
            os.dup2(source, descriptor, inheritable=True)
            taken.append(descriptor)
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(sources)), "HOME": "/"}
        return environ if names is None else environ | {"LISTEN_FDNAMES": names}

    yield place
    for descriptor in taken:
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_sockets_are_taken_over(hand_over: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        tcp6 = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(tmp_path / "x.sock"))
        unix.listen()
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0trio-lb-test-{os.getpid()}")
        abstract.listen()
        originals = (tcp, tcp6, unix, abstract)
        environ = hand_over(*(sock.fileno() for sock in originals), names="a:b:c:d")
        taken = [stack.enter_context(sock) for sock in passed_sockets(environ)]
        assert environ == {"HOME": "/"}
        assert [sock.getsockname() for sock in taken] == [s.getsockname() for s in originals]
        assert [sock.fileno() for sock in taken] == [_FIRST, _FIRST + 1, _FIRST + 2, _FIRST + 3]
        for sock in taken:
            assert not sock.getblocking()
            assert not os.get_blocking(sock.fileno())
            assert not sock.get_inheritable()
        assert [str(address_of(sock)) for sock in taken] == [
            f"http://127.0.0.1:{tcp.getsockname()[1]}",
            f"http://[::1]:{tcp6.getsockname()[1]}",
            f"unix:{tmp_path}/x.sock",
            f"unix:@trio-lb-test-{os.getpid()}",
        ]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "http"},
        {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
    ],
)
def test_nothing_was_passed_to_us(environ: dict[str, str]) -> None:
    assert passed_sockets(environ) == []
    assert environ == {}


@pytest.mark.parametrize("count", ["", "-1", "many", "10000"])
def test_a_count_that_is_none(count: str) -> None:
    with pytest.raises(ListenError, match="LISTEN_FDS: expected a number of sockets, got"):
        passed_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count})


def _connected() -> socket.socket:
    one, other = socket.socketpair()
    other.close()
    return one


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (tempfile.TemporaryFile, "is not a socket"),
        (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "not a listening stream socket"),
        (
            lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
            "not a listening stream socket",
        ),
        (_connected, "not a listening stream socket"),
    ],
)
def test_what_can_not_be_listened_on(
    make: Callable[[], socket.socket], said: str, hand_over: Callable[..., dict[str, str]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as right, make() as wrong:
        environ = hand_over(right.fileno(), wrong.fileno(), names="http:odd")
        with pytest.raises(ListenError) as caught:
            passed_sockets(environ)
        message = str(caught.value)
        assert message.startswith(f"descriptor {_FIRST + 1} (odd) was passed to listen on")
        assert said in message
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(_FIRST)  # the right one is not left behind


def test_a_descriptor_that_is_not_there(hand_over: Callable[..., dict[str, str]]) -> None:
    environ = hand_over() | {"LISTEN_FDS": "1"}
    with pytest.raises(ListenError, match=f"descriptor {_FIRST} was passed .* Bad file descriptor"):
        passed_sockets(environ)


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="no systemd-socket-activate here"
)
def test_as_systemd_passes_them() -> None:
    port = free_port()
    code = (
        "from trio_lb.supervise.activation import address_of, passed_sockets\n"
        "import os\n"
        "(sock,) = passed_sockets()\n"
        "sock.setblocking(True)\n"
        "client, _ = sock.accept()\n"
        "left = [name for name in os.environ if name.startswith('LISTEN_')]\n"
        "client.sendall(f'{sock.fileno()} {address_of(sock)} {left}'.encode())\n"
    )
    root = Path(__file__).parents[3]
    command = ["systemd-socket-activate", f"--listen=127.0.0.1:{port}", "--fdname=http"]
    with subprocess.Popen(
        [*command, f"--setenv=PYTHONPATH={root}", sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert f"Listening on 127.0.0.1:{port}" in process.stderr.readline()
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                said = b""
                while data := client.recv(1000):
                    said += data
            assert said.decode() == f"3 http://127.0.0.1:{port} []"
            assert process.wait(10) == 0
        finally:
            process.kill()
