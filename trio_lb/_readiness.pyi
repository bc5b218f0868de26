from collections.abc import Callable
from typing import Final, Never, Self

from typing_extensions import disjoint_base

__pyx_capi__: Final[dict[str, object]]  # what compiled modules import

@disjoint_base
class Watched:
    def __new__(cls) -> Self: ...

@disjoint_base
class Readiness:
    def __new__(cls, clock: Callable[[], float] | None = None) -> Self: ...
    @property
    def under_way(self) -> int: ...
    def __len__(self) -> int: ...
    async def sweep_forever(self) -> Never: ...
