"""Two directions at once: the only place where a request needs a second task."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def duplex(main: Callable[[], Awaitable[T]], aside: Callable[[], Awaitable[None]]) -> T:
    """Run `main` to its end while `aside` runs beside it.

    The end of `main` ends `aside`. Whichever fails first ends the other, and its exception comes
    out bare: in an `ExceptionGroup` of one it could not be caught by its class.
    """
    failure: Exception | None = None
    result: list[T] = []

    async def run_aside() -> None:
        nonlocal failure
        try:
            await aside()
        except Exception as exc:
            failure = failure or exc
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_aside)
        try:
            result.append(await main())
        except Exception as exc:
            failure = failure or exc
        nursery.cancel_scope.cancel()
    if not result and failure is not None:
        raise failure
    return result[0]
