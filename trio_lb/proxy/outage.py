"""No server is alive: requests wait for a moment while servers that are down are checked.

At the beginning of an outage, for `timeouts.connect`, the servers may just be restarting, so
requests wait until that time is over. After that a request waits only as long as a check takes, so
that the first one after a server's return is served, and all others fail soon.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Never

import trio

if TYPE_CHECKING:
    from trio_lb.pool import ServerPool

log = logging.getLogger("trio_lb.proxy")

#: Seconds between two looks at the servers' states.
_LOOK = 0.05

#: How long a request waits when the outage is no new one: a look of the checker, and a check.
_A_MOMENT = 0.3

#: Seconds between two lines of the log, and servers that one tells of.
_LOG_PAUSE = 1.0
_MOST_TOLD = 5


class Outage:
    """The times when no server is alive, for one process.

    Args:
        servers: the pool.
        patience: how long a request waits in the beginning, in seconds.
    """

    def __init__(self, servers: ServerPool, patience: float) -> None:
        self._servers = servers
        self._patience = patience
        self._changes = -1
        self._since = 0.0
        self._waiting = 0
        self._someone_waits = trio.Event()
        self._over = trio.Event()
        self._told_at = -_LOG_PAUSE
        self._untold = 0

    def wait_until(self, now: float) -> float:
        """Until when a request that finds nobody alive at `now` may wait."""
        if self._servers.changes != self._changes:
            self._changes, self._since = self._servers.changes, now
        return min(now + self._patience, max(self._since + self._patience, now + _A_MOMENT))

    async def is_over(self, until: float) -> bool:
        """Wait for a server to be alive; false when none is in time."""
        self._waiting += 1
        self._someone_waits.set()
        try:
            with trio.move_on_at(until):
                await self._over.wait()
                return True
            return False
        finally:
            self._waiting -= 1

    async def watch_forever(self) -> Never:
        """Have servers checked while requests wait, and tell them when one is back."""
        while True:
            await self._someone_waits.wait()
            while self._waiting:
                if self._servers.alive_count:
                    self._over.set()
                    self._over = trio.Event()
                self._servers.want(trio.current_time())
                await trio.sleep(_LOOK)
            self._someone_waits = trio.Event()

    def tell(self, request_id: str, now: float) -> None:
        """Log that a request found no server, and why; once a second at most."""
        if now - self._told_at < _LOG_PAUSE:
            self._untold += 1
            return
        more = f" ({self._untold} more such requests since the last line)" if self._untold else ""
        self._told_at, self._untold = now, 0
        log.warning("no server is available for request %s: %s%s", request_id, self._why(), more)

    def _why(self) -> str:
        told: list[str] = []
        counters = self._servers.snapshot()
        for each in counters[:_MOST_TOLD]:
            member = self._servers.members[each.index]
            name = member.server.name
            state = each.state.name.lower()
            if state == "dead":
                state += f", {self._servers.why_out(member)}"
            elif each.max_connections and each.active >= each.max_connections:
                state = f"full, {each.active} requests of {each.max_connections}"
            told.append(f"{name} is {state}")
        if len(counters) > _MOST_TOLD:
            told.append(f"and {len(counters) - _MOST_TOLD} others")
        return "; ".join(told)
