from collections.abc import Callable, Container
from typing import Any, Final, final

from trio_lb.fast.loop.readiness import Readiness, Watched
from trio_lb.net.transport import SocketTransport

__pyx_capi__: Final[dict[str, object]]  # what compiled modules import

@final
class Upstream(Watched):
    @property
    def transport(self) -> SocketTransport: ...
    @property
    def reused(self) -> bool: ...

@final
class Server:
    member: Any  # opaque here
    name: bytes
    def __init__(
        self,
        readiness: Readiness,
        slot: int,
        member: Any,
        name: bytes,
        prefix: bytes,
        limit: int,
        dial: Callable[[], tuple[SocketTransport, int] | None],
        max_age: float = ...,
        head_start: float = ...,
    ) -> None: ...
    @property
    def slot(self) -> int: ...
    @property
    def prefix(self) -> bytes: ...
    @property
    def idle(self) -> int: ...
    def take_transport(self, oldest: float) -> SocketTransport | None: ...
    def keep_transport(self, transport: SocketTransport, now: float) -> None: ...
    def expire(self, now: float, max_idle: float) -> None: ...
    def keep_only(self, hosts: Container[str]) -> None: ...
    def dismiss(self) -> None: ...
    def close(self) -> None: ...
