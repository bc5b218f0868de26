from typing import Literal, Self, final

from trio_lb._readiness import Readiness
from trio_lb._select import Selection
from trio_lb._table import Table
from trio_lb._upstreams import Server
from trio_lb.net.transport import Transport

@final
class PlainRoad:
    def __new__(
        cls,
        readiness: Readiness,
        table: Table,
        selection: Selection,
        servers: list[Server],
        run_id: bytes,
        *,
        head_limit: int,
        target_limit: int,
        field_limit: int,
        body_limit: int | None,
        replay_body: int,
        client_head: float,
        keep_alive: float,
        body: float,
        connect: float,
        response: float,
        idle: float,
        min_rate: int | None = None,
        most_requests: int | None = None,
    ) -> Self: ...
    @property
    def borrowed(self) -> int: ...
    def close_idle_pipes(self) -> None: ...

@final
class Handover:
    @property
    def why(self) -> Literal["left", "served", "odd", "gone", "cut", "cancelled"]: ...
    @property
    def reason(self) -> str: ...
    @property
    def unread(self) -> bytes: ...
    @property
    def began(self) -> float | None: ...
    @property
    def started(self) -> float | None: ...
    @property
    def request_id(self) -> bytes: ...
    @property
    def place(self) -> int | None: ...
    @property
    def transport(self) -> Transport | None: ...
    @property
    def reused(self) -> bool: ...
    @property
    def connect_error(self) -> int: ...
    @property
    def unsent(self) -> bytes: ...
    @property
    def received(self) -> bytes: ...
    @property
    def begun_body(self) -> int: ...
    @property
    def gone(self) -> int | None: ...
    @property
    def chunk(self) -> int | None: ...
    @property
    def whole(self) -> bool: ...
    @property
    def patience(self) -> float | None: ...
    @property
    def sent(self) -> float: ...
    @property
    def collected(self) -> int: ...
    @property
    def status(self) -> int: ...
    @property
    def passed(self) -> int: ...
