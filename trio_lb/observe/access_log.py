"""The access log: recording never waits; a separate task writes in batches.

Records are kept as bytes in a buffer, which the fast path fills directly. Compiled code formats
the lines, in the thread that writes them.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal

import trio

from trio_lb.errors import End
from trio_lb.fast.record import RecordBuffer, combined, json
from trio_lb.http.heads import find
from trio_lb.net.nurseries import open_bare_nursery
from trio_lb.observe.log_file import AppendFailed, Condition, LogFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio_lb.fast.record import RecordBatch
    from trio_lb.observe.record import Record

_logger = logging.getLogger(__name__)

_FORMATS = {"combined": combined, "json": json}

_GATHERING = 0.5
"""Seconds for which records gather into a batch."""

_BATCH = 1000
"""Records that end the gathering early."""

_LAST_WORDS = 2.0
"""Seconds that the end of the log may take to be written at shutdown."""


class AccessLog:
    """A buffer of records, and the task that empties it into a file. See `open_access_log`.

    Attributes:
        buffer: of the records that wait; who puts one there by himself has to be in this thread.
    """

    def __init__(
        self,
        path: str,
        line_format: Literal["combined", "json"],
        dropped: Callable[[int], None],
        capacity: int,
        shown: str,
    ) -> None:
        self._file = LogFile(path)
        self._lines = _FORMATS[line_format]
        self.buffer = RecordBuffer(capacity, _BATCH, self._due, self._lost)
        self._dropped = dropped
        self._overflowed = False  # since the last batch was taken
        self._writing = 0  # records in the batch on its way
        self._closing = False
        self._wake = trio.Event()
        self._scope = trio.CancelScope(shield=True)
        self._limiter = trio.CapacityLimiter(1)
        destination = "to standard output" if path == "-" else shown
        self._condition = Condition(_logger, f"access log {destination}")

    def record(self, record: Record) -> None:
        """Keep a record, or drop and count it when the buffer is full.

        Never waits. For the thread that runs Trio.
        """
        head = record.head
        self.buffer.add(
            time=record.time,
            duration=record.duration_s,
            status=record.status,
            bytes_sent=record.bytes_sent,
            bytes_received=record.bytes_received,
            client=_encoded(record.client),
            method=b"" if head is None else head.method,
            target=b"" if head is None else head.target,
            version=b"" if head is None else head.version,
            request_id=record.request_id,
            referer=None if head is None else find(head.fields, b"referer"),
            user_agent=None if head is None else find(head.fields, b"user-agent"),
            server=None if record.server is None else _encoded(record.server),
            ended=_encoded(record.ended),
            reason=None if record.ended is End.OK else _encoded(record.reason),
            attempts=[
                (_encoded(each.server), _encoded(each.outcome), each.duration_s, each.reused)
                for each in record.attempts
            ],
        )

    def _due(self) -> None:
        self._wake.set()

    def _lost(self, count: int) -> None:
        self._dropped(count)
        self._overflowed = True
        self._condition.failed("it is written too slowly, entries are dropped")

    async def _run(self) -> None:
        """Write until closed. Shielded: what is recorded while all else is cancelled is kept."""
        with self._scope:
            await self._flush()  # opens the file, so that trouble with it is known at the start
            while len(self.buffer) or not self._closing:
                await self._wake.wait()
                if len(self.buffer) < _BATCH and not self._closing:
                    self._wake = trio.Event()
                    with trio.move_on_after(_GATHERING):
                        await self._wake.wait()
                self._wake = trio.Event()
                await self._flush()
            await self._in_thread(self._file.close)
        if self._scope.cancelled_caught:
            self._dropped(self._writing + len(self.buffer))
            self._condition.failed("it takes too long, its end is lost")

    def _close(self) -> None:
        self._closing = True
        self._wake.set()
        self._scope.deadline = trio.current_time() + _LAST_WORDS

    async def _flush(self) -> None:
        batch = self.buffer.take()
        self._writing = len(batch)
        self._overflowed = False
        try:
            await self._in_thread(partial(self._write, batch))
        except AppendFailed as failure:
            self._dropped(failure.lost_lines)
            self._condition.failed(failure)
        else:
            if not self._overflowed:
                self._condition.worked()
        self._writing = 0

    def _write(self, batch: RecordBatch) -> None:
        try:
            text = self._lines(batch)
        except MemoryError as error:
            raise AppendFailed(os.strerror(errno.ENOMEM), len(batch)) from error
        self._file.append(text)

    async def _in_thread(self, write: Callable[[], None]) -> None:
        await trio.to_thread.run_sync(write, abandon_on_cancel=True, limiter=self._limiter)


@asynccontextmanager
async def open_access_log(
    path: str,
    line_format: Literal["combined", "json"],
    dropped: Callable[[int], None],
    *,
    shown: str | None = None,
    capacity: int = 10_000,
) -> AsyncIterator[AccessLog]:
    """Open an access log for as long as requests are served within.

    Nothing that happens to the file holds up a request or ends the balancer: records are dropped
    and counted, trouble is logged once when it begins and once when it is over. The file is opened
    anew when it was moved or deleted. On leaving, also by cancellation, what is queued is still
    written, for two seconds at most. So serve within this context; its tasks then end before it.

    Args:
        path: file to append to; "-" is standard output.
        line_format: "combined" or "json".
        dropped: called with a number of records that were lost: the queue was full, or the file
            could not be written.
        shown: what the log calls the file, if not by its name.
        capacity: records that wait at most, and in 16 MiB; as many again may be on their way to the
            file.
    """
    log = AccessLog(path, line_format, dropped, capacity, shown or path)
    async with open_bare_nursery() as nursery:
        nursery.start_soon(log._run)
        try:
            yield log
        finally:
            log._close()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
