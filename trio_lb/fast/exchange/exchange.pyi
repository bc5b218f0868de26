from typing import Final

from typing_extensions import disjoint_base

from trio_lb.fast.loop.readiness import Watched

__pyx_capi__: Final[dict[str, object]]  # what compiled modules import

@disjoint_base
class Exchange(Watched):
    @property
    def served(self) -> int: ...
