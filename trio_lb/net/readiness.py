"""How the fast path waits for its sockets on this system."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from trio_lb.fast.loop.sockets import HAS_EPOLL
from trio_lb.fast.loop.trio_waits import TrioWaits

from .deadlines import loop_clock

if TYPE_CHECKING:
    from trio_lb.fast.loop.epoll import Epoll

log = logging.getLogger("trio_lb.proxy")


def open_readiness(how: Literal["auto", "trio"]) -> Epoll | TrioWaits:
    """Open what waits for sockets, in Trio's run; to be closed when its tasks have ended.

    Args:
        how: `auto`, an epoll of our own where that can be had, else Trio's waits; `trio`, those.
    """
    if how == "trio" or not HAS_EPOLL:
        return TrioWaits(loop_clock())
    from trio_lb.fast.loop.epoll import Epoll

    try:
        return Epoll(loop_clock())
    except OSError as exc:  # a sandbox without eventfd(2), say
        log.debug("waiting in Trio's way: epoll: %s", exc.strerror)
        return TrioWaits(loop_clock())
