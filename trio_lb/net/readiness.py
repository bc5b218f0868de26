"""How the plain road waits for its sockets on this system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trio_lb._sockets import HAS_EPOLL
from trio_lb._trio_waits import TrioWaits

from .deadlines import loop_clock

if TYPE_CHECKING:
    from trio_lb._epoll import Epoll


def open_readiness(how: Literal["auto", "trio"]) -> Epoll | TrioWaits:
    """Open what waits for sockets, in Trio's run; to be closed when its tasks have ended.

    Args:
        how: `auto`, an epoll of our own where there is one, else Trio's waits; `trio`, those.
    """
    if how == "trio" or not HAS_EPOLL:
        return TrioWaits(loop_clock())
    from trio_lb._epoll import Epoll

    return Epoll(loop_clock())
