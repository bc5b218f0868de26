from typing import Final, Self, final

__pyx_capi__: Final[dict[str, object]]  # what compiled modules import

MORE: Final[int]
END: Final[int]
ODD: Final[int]
BROKEN: Final[int]

@final
class BodyFraming:
    def __new__(cls, content_length: int | None = None, chunked: bool = False) -> Self: ...
    def feed(self, data: bytes) -> int: ...
    @property
    def state(self) -> int: ...
    @property
    def payload(self) -> int: ...
    @property
    def remaining(self) -> int: ...
