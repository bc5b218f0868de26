"""Names of servers to addresses.

A process looks up the names of its servers, in threads, every 30 s and whenever an address fails;
connecting uses the known addresses. There is one look-up per name at a time. The last good result
is kept while the next look-up fails or hangs, which is not counted against the server.
"""

from __future__ import annotations

import logging
import math
import socket
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Never

import trio

from trio_lb.errors import NameUnresolved

from .deadlines import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio_lb.plan import Address

log = logging.getLogger("trio_lb.net")

#: From one look-up of a name to the next; seconds.
_REFRESH: Final = 30.0

#: After a look-up that failed, the next one comes earlier: after this time, and twice that, and so
#: on. And no name is looked up again within it, whatever happens; seconds.
_PAUSE: Final = 1.0

#: How long a look-up is waited for where there is an answer from before; seconds.
_PATIENCE: Final = 0.25

#: Where there is none, who asks waits. But a look-up that has taken so long already hangs, and is
#: waited for no more; seconds.
_HANGS: Final = 2.0

#: Look-ups at the same time, each in a thread. Those that hang have theirs for as long as they do.
_AT_ONCE: Final = 128

#: What getaddrinfo(3) says of a name that nobody has. EAI_NODATA is not everywhere.
_NOBODYS: Final = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


class Target(NamedTuple):
    """One address of a name: its family, and the address without a port."""

    family: int
    host: str
    #: Flow and scope of IPv6.
    rest: tuple[int | bytes, ...] = ()


class _Name:
    """What is known of a name.

    Attributes:
        shown: what the log calls it.
        in_use: a server has it; it is forgotten otherwise.
        targets: the last good answer, in the order in which it is to be tried.
        worked: the address that was connected to last; None if none was.
        failure: why there is no newer answer; None if there is.
        pause: seconds from the last look-up to the next one.
        looked_up: when the last look-up ended.
        patience, hangs: ends of these times, for the last look-up.
        ended: set at the end of the look-up that is wanted or under way; None if there is none.
    """

    __slots__ = (
        "ended",
        "failure",
        "hangs",
        "in_use",
        "looked_up",
        "patience",
        "pause",
        "shown",
        "targets",
        "worked",
    )

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.in_use = False
        self.targets: tuple[Target, ...] = ()
        self.worked: str | None = None
        self.failure: NameUnresolved | None = None
        self.pause = 0.0
        self.looked_up = -math.inf
        self.patience = self.hangs = Deadline(0.0)
        self.ended: trio.Event | None = None


class Resolver:
    """The names of a process; somebody's nursery must run `run`."""

    def __init__(self) -> None:
        self._names: dict[str, _Name] = {}
        self._wanted: deque[tuple[str, _Name]] = deque()
        self._wake = trio.Event()
        self._under_way = 0
        self._limiter = trio.CapacityLimiter(_AT_ONCE)  # of our own: files need theirs

    def __len__(self) -> int:
        """How many names it knows of."""
        return len(self._names)

    def use(self, addresses: Iterable[Address]) -> None:
        """From now on keep what is known of these names up to date, and forget all others.

        Args:
            addresses: of servers, which may have names.
        """
        names, self._names = self._names, {}
        for address in addresses:
            if address.named and address.host not in self._names:
                name = names.get(address.host) or _Name(str(address))
                name.shown, name.in_use = str(address), True
                self._names[address.host] = name
                if name.looked_up == -math.inf:
                    self._want(address.host, name)

    async def resolve(self, address: Address) -> Sequence[Target]:
        """The addresses of a server's name, as they are known.

        Until there are any, this waits for a look-up, which may take long; the caller has a
        deadline.

        Raises:
            NameUnresolved: there are none.
        """
        name = self._of(address)
        if not name.targets:
            self._want(address.host, name)
            if name.ended is not None and trio.current_time() < name.hangs.by:
                await name.ended.wait()
        if name.targets:
            return name.targets
        raise name.failure or NameUnresolved("connect: looking the name up takes too long", 504)

    async def renewed(self, address: Address) -> Sequence[Target]:
        """The addresses that a name has now that those known before have failed, or are late.

        They are those from before if they were looked up a moment ago, or if new ones can't be had
        soon.
        """
        name = self._of(address)
        self._want(address.host, name)
        if name.ended is not None and trio.current_time() < name.patience.by:
            with trio.move_on_at(name.patience.by):
                await name.ended.wait()
        return name.targets

    def first(self, host: str) -> Target | None:
        """The address of a name that is to be tried first; None if none is known."""
        name = self._names.get(host)
        return name.targets[0] if name and name.targets else None

    def current(self, host: str) -> frozenset[str] | None:
        """The addresses that a name has, as far as is known; None if it was never looked up."""
        name = self._names.get(host)
        return frozenset(target.host for target in name.targets) if name and name.targets else None

    def worked(self, host: str, address: str) -> None:
        """An address of a name could be connected to, and is to be tried first from now on."""
        name = self._names.get(host)
        if name and name.worked != address:
            name.worked = address
            name.targets = _in_turns(name.targets, address)

    async def run(self) -> Never:
        """Look names up, until cancelled; threads that hang are left alone then."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._refresh_forever)
            while True:
                while self._wanted and self._under_way < _AT_ONCE:
                    self._under_way += 1
                    nursery.start_soon(self._look_up, *self._wanted.popleft())
                self._wake = trio.Event()
                await self._wake.wait()

    async def _refresh_forever(self) -> Never:
        while True:
            await trio.sleep(_PAUSE)
            now = trio.current_time()
            for host, name in tuple(self._names.items()):
                if name.ended is not None or now < name.looked_up + name.pause:
                    continue
                if name.in_use:
                    self._want(host, name)
                else:
                    del self._names[host]

    def _of(self, address: Address) -> _Name:
        name = self._names.get(address.host)
        if name is None:
            name = self._names[address.host] = _Name(str(address))
        return name

    def _want(self, host: str, name: _Name) -> None:
        """Have a name looked up soon, unless that was done a moment ago."""
        if name.ended is None and trio.current_time() >= name.looked_up + _PAUSE:
            name.patience, name.hangs = Deadline(_PATIENCE), Deadline(_HANGS)
            name.ended = trio.Event()
            self._wanted.append((host, name))
            self._wake.set()

    async def _look_up(self, host: str, name: _Name) -> None:
        try:
            targets = await look_up(host, self._limiter)
            if not targets:
                raise socket.gaierror(socket.EAI_NONAME, "no addresses")
        except Exception as exc:  # whatever it is, also a name that can't be encoded
            _failed(name, exc)
        else:
            if name.failure is not None:
                log.info("the name of %s resolves again", name.shown)
            name.failure, name.pause = None, _REFRESH
            name.targets = _in_turns(targets, name.worked)
        finally:
            assert name.ended is not None
            name.ended.set()
            name.ended = None
            name.looked_up = trio.current_time()
            self._under_way -= 1
            self._wake.set()


def _failed(name: _Name, exc: Exception) -> None:
    why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    missing = not isinstance(exc, OSError) or (
        isinstance(exc, socket.gaierror) and exc.errno in _NOBODYS
    )
    if name.failure is None:
        kept = "; its last addresses are used" if name.targets else ""
        log.warning("the name of %s does not resolve: %s%s", name.shown, why, kept)
        name.pause = _PAUSE
    else:
        name.pause = min(2 * name.pause, _REFRESH)
    name.failure = NameUnresolved(f"connect: the name does not resolve: {why}", missing=missing)


async def look_up(host: str, limiter: trio.CapacityLimiter) -> list[Target]:
    """The addresses of a name in the order in which they are to be tried, by getaddrinfo(3).

    Args:
        host: the name.
        limiter: of the threads in which that is asked.

    Raises:
        OSError: there are none; socket.gaierror as a rule.
    """
    answers = await trio.to_thread.run_sync(
        lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM),
        abandon_on_cancel=True,
        limiter=limiter,
    )
    found = [Target(family, str(where[0]), tuple(where[2:])) for family, _, _, _, where in answers]
    return list(dict.fromkeys(found))


def _in_turns(targets: Sequence[Target], first: str | None) -> tuple[Target, ...]:
    """Addresses in their order, but of two families in turn (RFC 8305 section 4).

    Args:
        targets: as they were looked up.
        first: comes first if it is among them: the one that has worked.
    """
    found = sorted(targets, key=lambda target: target.host != first)
    one = [target for target in found if target.family == found[0].family]
    other = [target for target in found if target.family != found[0].family]
    both = min(len(one), len(other))
    pairs = [each for pair in zip(one, other, strict=False) for each in pair]
    return (*pairs, *one[both:], *other[both:])
