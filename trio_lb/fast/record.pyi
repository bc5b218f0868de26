from collections.abc import Callable
from typing import Self, final

@final
class RecordBatch:
    def __len__(self) -> int: ...
    @property
    def count(self) -> int: ...

@final
class RecordBuffer:
    def __new__(
        cls, capacity: int, batch: int, due: Callable[[], None], lost: Callable[[int], None]
    ) -> Self: ...
    def __len__(self) -> int: ...
    def take(self) -> RecordBatch: ...
    def add(
        self,
        *,
        time: float,
        duration: float,
        status: int,
        bytes_sent: int,
        bytes_received: int,
        client: bytes,
        method: bytes,
        target: bytes,
        version: bytes,
        request_id: bytes,
        referer: bytes | None,
        user_agent: bytes | None,
        server: bytes | None,
        ended: bytes,
        reason: bytes | None,
        attempts: list[tuple[bytes, bytes, float, bool]],
    ) -> None: ...

def combined(batch: RecordBatch) -> bytes: ...
def json(batch: RecordBatch) -> bytes: ...
