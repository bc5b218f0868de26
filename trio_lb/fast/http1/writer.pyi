from typing import Final, Self, final

__pyx_capi__: Final[dict[str, object]]  # what compiled modules import

@final
class ClientLines:
    def __new__(cls, *pieces: bytes) -> Self: ...
