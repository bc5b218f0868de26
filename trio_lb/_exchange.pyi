from collections.abc import Callable
from typing import final

import trio

from trio_lb._readiness import Watched
from trio_lb._road import Handover, PlainRoad
from trio_lb._wire import ClientLines

@final
class PlainClient(Watched):
    def __init__(
        self,
        road: PlainRoad,
        fd: int,
        lines: ClientLines,
        trusted: bool,
        on_served: Callable[..., None] | None = None,
    ) -> None: ...
    @property
    def served(self) -> int: ...
    async def run(self, unread: bytes, served: int) -> None: ...
    def abort(self, _: object) -> trio.lowlevel.Abort: ...
    def take_ending(self) -> Handover: ...
    def drain(self) -> None: ...
    def detach(self) -> None: ...
