"""How the plain road waits for its sockets on this system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trio_lb._sockets import HAS_EPOLL
from trio_lb._trio_waits import TrioWaits

if TYPE_CHECKING:
    from trio_lb._epoll import Epoll

    from .deadlines import Deadlines


def open_readiness(how: Literal["auto", "trio"], deadlines: Deadlines) -> Epoll | TrioWaits:
    """Open what waits for sockets; to be closed when its tasks have ended.

    Args:
        how: `auto`, an epoll of our own where there is one, else Trio's waits; `trio`, those.
        deadlines: of the waits beside it.
    """
    if how == "trio" or not HAS_EPOLL:
        return TrioWaits()
    from trio_lb._epoll import Epoll

    return Epoll(deadlines)
