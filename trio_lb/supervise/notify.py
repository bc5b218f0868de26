"""systemd's notify protocol: telling the service manager how we are (sd_notify(3))."""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping

log = logging.getLogger("trio_lb.notify")

#: systemd ignores messages of more than 4096 bytes.
_STATUS_BYTES: Final = 2048

#: So many changes of state wait for a manager that takes none.
_KEPT: Final = 16


class Notifier:
    """Tells the service manager what happens; does nothing where there is none.

    No method blocks or raises. A change of state that finds the manager's queue full goes before
    the next message, so that a watchdog's regular messages bring a lost `ready` after all.

    Attributes:
        watchdog_interval: seconds between two calls of `watchdog`, half of what the manager waits;
            None if it doesn't watch us.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        """Take the manager's variables out of the environment, so that no child speaks for us."""
        self._path = environ.pop("NOTIFY_SOCKET", "")
        self.watchdog_interval = _watchdog_interval(
            environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        )
        self._unsent: list[bytes] = []
        self._failing = False

    def ready(self, status: str) -> None:
        """Everything is listening, or a reload has ended, well or not."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        # Type=notify-reload takes the time to tell this answer from an earlier one.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}", _status("reloading"))

    def stopping(self, within: float) -> None:
        """The end has begun; it may take so many seconds, also where the unit allows for less."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(within * 1e6)}", _status("draining"))

    def status(self, text: str) -> None:
        """One line, as `systemctl status` shows it."""
        self._send(_status(text), keep=False)

    def watchdog(self) -> None:
        """The heartbeat for its watchdog; due every `watchdog_interval` seconds."""
        self._send("WATCHDOG=1", keep=False)

    def _send(self, *assignments: str, keep: bool = True) -> None:
        if not self._path:
            return
        message = "\n".join(assignments).encode(errors="replace")
        messages = [*self._unsent, message]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                while messages:
                    sock.sendto(messages[0], _address(self._path))
                    del messages[0]
        except (OSError, ValueError) as error:  # ValueError: a path that is none
            self._unsent = messages[-_KEPT:] if keep else messages[:-1]
            if not self._failing:
                log.warning("cannot notify the service manager at %s: %s", self._path, error)
            self._failing = True
        else:
            self._unsent = []
            self._failing = False


def _address(path: str) -> str:
    return "\0" + path[1:] if path.startswith("@") else path


def _status(text: str) -> str:
    line = " ".join(text.split())
    return "STATUS=" + line.encode(errors="replace")[:_STATUS_BYTES].decode(errors="ignore")


def _watchdog_interval(microseconds: str, pid: str) -> float | None:
    if pid not in {"", str(os.getpid())} or not re.fullmatch("[0-9]{1,18}", microseconds):
        return None
    return int(microseconds) / 2e6 or None
