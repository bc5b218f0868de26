from collections.abc import Callable
from typing import Never, Self, final

from trio_lb.fast.loop.readiness import Readiness

@final
class TrioWaits(Readiness):
    def __new__(cls, clock: Callable[[], float] | None = None) -> Self: ...
    def close(self) -> None: ...
    async def watch_forever(self) -> Never: ...
