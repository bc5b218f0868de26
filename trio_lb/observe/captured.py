"""Captures standard error while the live table is on its terminal.

Output of this process and its workers goes into a pipe instead of the terminal, so that it can be
shown above the table.
"""

from __future__ import annotations

import contextlib
import os
import select
from typing import TYPE_CHECKING, Final

import trio

from trio_lb.observe.log_file import write_some

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_A_TIME: Final = 64 * 1024
_LAST_WORDS: Final = 1000
"""Milliseconds that the terminal is waited for at the end."""


class Captured:
    """A descriptor that leads into a pipe; see `captured`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._terminal = os.dup(descriptor)
        self._pipe, write = os.pipe()
        os.set_blocking(self._pipe, False)
        os.dup2(write, descriptor)
        os.close(write)
        self._rest = b""

    async def arrival(self) -> None:
        """Wait until something was written."""
        await trio.lowlevel.wait_readable(self._pipe)

    def take(self) -> str:
        """The whole lines that were written since the last time, up to a megabyte."""
        pieces = [self._rest]
        with contextlib.suppress(BlockingIOError):
            pieces.extend(os.read(self._pipe, _AT_A_TIME) for _ in range(16))
        lines, newline, self._rest = b"".join(pieces).rpartition(b"\n")
        if len(self._rest) > _AT_A_TIME:  # no line of anybody's
            lines, newline, self._rest = lines + newline + self._rest, b"", b""
        return (lines + newline).decode(errors="backslashreplace")

    async def pass_on(self) -> None:
        """Write to the terminal what comes, for as long as no table is there, until cancelled."""
        while True:
            await self.arrival()
            lines = self.take().encode(errors="replace")
            with contextlib.suppress(OSError):  # the terminal is gone; nobody reads it
                await trio.to_thread.run_sync(self._write, lines, abandon_on_cancel=True)

    def close(self) -> None:
        """Lead to the terminal again, and write there what is left."""
        os.dup2(self._terminal, self._descriptor)
        lines = self.take().encode(errors="replace") + self._rest
        writable = select.poll()
        writable.register(self._terminal, select.POLLOUT)
        with contextlib.suppress(OSError):
            if lines and writable.poll(_LAST_WORDS):
                self._write(lines)
        os.close(self._pipe)
        os.close(self._terminal)

    def _write(self, lines: bytes) -> None:
        while lines:
            lines = lines[write_some(self._terminal, lines) :]


@contextlib.contextmanager
def captured(descriptor: int = 2) -> Iterator[Captured | None]:
    """Capture standard error for as long as the block lasts, if it is a terminal."""
    try:
        terminal = os.isatty(descriptor)
    except OSError:
        terminal = False
    if not terminal:
        yield None
        return
    errors = Captured(descriptor)
    try:
        yield errors
    finally:
        errors.close()
