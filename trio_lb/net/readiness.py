"""How the plain road waits for its sockets on this system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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
    if how == "trio":
        return TrioWaits()
    try:
        from trio_lb._epoll import Epoll
    except ModuleNotFoundError:  # it is Linux's
        return TrioWaits()
    return Epoll(deadlines)
