"""Nurseries for context managers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def open_bare_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery that lets an exception of its own block out as it is.

    A context manager that runs tasks beside its caller's block must not show its caller that it
    has a nursery: what the block raises has to come out bare and not in an `ExceptionGroup`, also
    when the tasks are cancelled meanwhile. What the tasks raise comes out in a group, as ever.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except trio.Cancelled:
                raise
            except BaseExceptionGroup as group:
                # What is cancelled has to meet this nursery: a task that crashed may be the cause.
                cancelled, failure = group.split(trio.Cancelled)
                if cancelled is not None:
                    raise cancelled from None
                failure = group  # itself: `split` has copied it, perhaps into another type
            except BaseException as exc:
                failure = exc
    finally:
        if failure is not None:
            raise failure
