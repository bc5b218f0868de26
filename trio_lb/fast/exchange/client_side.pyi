from collections.abc import Callable
from typing import final

import trio

from trio_lb.fast.exchange.exchange import Exchange
from trio_lb.fast.exchange.fast_path import FastPath, Handover
from trio_lb.fast.http1.writer import ClientLines

@final
class ClientSide(Exchange):
    def __init__(
        self,
        path: FastPath,
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
