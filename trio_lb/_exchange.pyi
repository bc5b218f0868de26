from typing import Final

from typing_extensions import disjoint_base

from trio_lb._readiness import Watched

__pyx_capi__: Final[dict[str, object]]  # what compiled modules import

@disjoint_base
class PlainExchange(Watched):
    @property
    def served(self) -> int: ...
