from collections.abc import Callable
from typing import final

import trio

from trio_lb._exchange import PlainExchange
from trio_lb._road import Handover, PlainRoad
from trio_lb._writer import ClientLines

@final
class PlainClient(PlainExchange):
    def __init__(
        self,
        road: PlainRoad,
        fd: int,
        lines: ClientLines,
        trusted: bool,
        on_served: Callable[..., None] | None = None,
    ) -> None: ...
    async def run(self, unread: bytes, served: int) -> None: ...
    def abort(self, _: object) -> trio.lowlevel.Abort: ...
    @property
    def idle_since(self) -> float: ...
    def let_go(self) -> None: ...
    def take_ending(self) -> Handover: ...
    def drain(self) -> None: ...
    def detach(self) -> None: ...
