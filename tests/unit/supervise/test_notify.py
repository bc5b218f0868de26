"""What reaches a service manager's socket, and that nothing of it reaches the caller."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from trio_lb.supervise.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind("\0" + name if request.param == "abstract" else name)
        yield sock


def _environ(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": os.fsdecode(manager.getsockname()).replace("\0", "@"), **more}


def _received(manager: socket.socket) -> list[list[str]]:
    """The assignments of every message that waits."""
    messages = []
    while True:
        try:
            messages.append(manager.recv(65536).decode().split("\n"))
        except BlockingIOError:
            return messages


def test_a_life(manager: socket.socket) -> None:
    notifier = Notifier(_environ(manager))
    notifier.status("checking\nservers")
    notifier.ready("2 workers")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.ready("3 workers")
    notifier.watchdog()
    notifier.stopping(30.5)
    checking, ready, reloading, again, watchdog, stopping = _received(manager)
    assert checking == ["STATUS=checking servers"]
    assert ready == ["READY=1", "STATUS=2 workers"]
    assert reloading[0] == "RELOADING=1"
    name, _, microseconds = reloading[1].partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(microseconds) <= after
    assert again == ["READY=1", "STATUS=3 workers"]
    assert watchdog == ["WATCHDOG=1"]
    assert stopping == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=30500000", "STATUS=draining"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_a_manager(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(environ)
    notifier.ready("x")
    notifier.watchdog()
    assert notifier.watchdog_interval is None
    assert caplog.records == []


def test_the_variables_are_not_handed_on(manager: socket.socket) -> None:
    environ = _environ(manager, WATCHDOG_USEC="1", WATCHDOG_PID="1", HOME="/")
    Notifier(environ)
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    ("microseconds", "pid", "interval"),
    [
        ("30000000", "own", 15.0),
        ("500000", None, 0.25),
        ("30000000", "1", None),
        ("0", None, None),
        ("-5", None, None),
        ("soon", None, None),
        ("", "own", None),
        (None, "own", None),
    ],
)
def test_the_interval_of_the_watchdog(
    microseconds: str | None, pid: str | None, interval: float | None
) -> None:
    own = str(os.getpid()) if pid == "own" else pid
    given = {"WATCHDOG_USEC": microseconds, "WATCHDOG_PID": own}
    environ = {name: value for name, value in given.items() if value is not None}
    assert Notifier(environ).watchdog_interval == interval


@pytest.mark.parametrize("path", ["/nonexistent/notify", "vsock:2:1234", "/" + "x" * 200, "a\0b"])
def test_a_manager_that_is_not_there_is_told_once(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": path})
    notifier.ready("x")
    notifier.watchdog()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "cannot notify the service manager" in record.message


def test_a_status_is_short_enough_for_the_manager(manager: socket.socket) -> None:
    notifier = Notifier(_environ(manager))
    notifier.ready("\N{EURO SIGN}" * 5000 + "\udc80")
    ((ready, status),) = _received(manager)
    assert ready == "READY=1"
    assert status == "STATUS=" + "\N{EURO SIGN}" * (2048 // 3)


def test_a_full_queue_neither_blocks_nor_loses_a_change(manager: socket.socket) -> None:
    notifier = Notifier(_environ(manager))
    sent = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                other.sendto(b"noise", manager.getsockname())
                sent += 1
    assert sent
    notifier.ready("x")
    for _ in range(20):
        notifier.watchdog()
    notifier.stopping(1)
    assert _received(manager) == [["noise"]] * sent
    notifier.watchdog()
    assert [message[0] for message in _received(manager)] == [
        "READY=1",
        "STOPPING=1",
        "WATCHDOG=1",
    ]
    notifier.watchdog()
    assert _received(manager) == [["WATCHDOG=1"]]
