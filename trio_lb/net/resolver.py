"""Names of servers to addresses.

For each name there is one look-up at a time, whoever asks, in a thread that no other name waits
for. The last good answer is kept, and serves while the next one fails or takes long: that says
nothing about the server.
"""

from __future__ import annotations

import logging
import math
import socket
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from trio_lb.errors import NameUnresolved

from .deadlines import Deadline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger("trio_lb.net")

#: How long a look-up is waited for where there is an answer from before; seconds.
_PATIENCE: Final = 0.25

#: Where there is none, who asks waits. But a look-up that has taken so long already hangs, and is
#: waited for no more; seconds.
_HANGS: Final = 2.0

#: After a look-up that failed, there is no other one for so long; seconds.
_PAUSE: Final = 1.0

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
        targets: the last good answer.
        failure: why there is no newer one; None if there is.
        failed: when that was.
        patience, hangs: ends of these times, for the last look-up.
        ended: set at the end of the look-up under way; None if there is none.
    """

    __slots__ = ("ended", "failed", "failure", "hangs", "patience", "targets")

    def __init__(self) -> None:
        self.targets: tuple[Target, ...] = ()
        self.failure: NameUnresolved | None = None
        self.failed = -math.inf
        self.patience = self.hangs = Deadline(0.0)
        self.ended: trio.Event | None = None


class Resolver:
    """The names of one Trio run; see `resolver`.

    Attributes:
        look_up: finds the addresses of a name, in the order in which they are to be tried; raises
            OSError (socket.gaierror) where there are none. getaddrinfo(3) by default.
    """

    def __init__(self) -> None:
        self.look_up: Callable[[str], Awaitable[list[Target]]] = _look_up_in_thread
        self._names: dict[str, _Name] = {}

    async def resolve(self, host: str, shown: str) -> tuple[Target, ...]:
        """The addresses of a name: new ones, or those from before if these can't be had soon.

        Without any from before this may take long; the caller has a deadline.

        Args:
            host: the name.
            shown: what the log calls it.

        Raises:
            NameUnresolved: there are none.
        """
        name = self._begun(host, shown)
        if name.ended is not None:
            now = trio.current_time()
            if not name.targets and now < name.hangs.by:
                await name.ended.wait()
            elif name.targets and now < name.patience.by:
                with trio.move_on_at(name.patience.by):
                    await name.ended.wait()
        if name.targets:
            return name.targets
        raise name.failure or NameUnresolved("connect: looking the name up takes too long", 504)

    def refresh(self, host: str, shown: str) -> None:
        """Have a name looked up soon, for `current`."""
        self._begun(host, shown)

    def current(self, host: str) -> frozenset[str] | None:
        """The addresses that a name has, as far as is known; None if it was never looked up."""
        name = self._names.get(host)
        return frozenset(target.host for target in name.targets) if name and name.targets else None

    def _begun(self, host: str, shown: str) -> _Name:
        """What is known of a name, with a look-up under way unless one has just failed."""
        name = self._names.setdefault(host, _Name())
        now = trio.current_time()
        if name.ended is None and now >= name.failed + _PAUSE:
            name.patience, name.hangs = Deadline(_PATIENCE), Deadline(_HANGS)
            name.ended = trio.Event()
            # Of no task's: who asked first may be cancelled while others wait. It ends with the
            # run at the latest, and its thread is left alone then.
            trio.lowlevel.spawn_system_task(self._look_up, host, name, shown)
        return name

    async def _look_up(self, host: str, name: _Name, shown: str) -> None:
        try:
            targets = await self.look_up(host)
            if not targets:
                raise socket.gaierror(socket.EAI_NONAME, "no addresses")
        except Exception as exc:  # whatever it is, also a name that can't be encoded
            self._failed(name, exc, shown)
        else:
            if name.failure is not None:
                log.info("the name of %s resolves again", shown)
            name.failure, name.failed = None, -math.inf
            name.targets = _in_turns(targets)
        finally:
            assert name.ended is not None
            name.ended.set()
            name.ended = None

    def _failed(self, name: _Name, exc: Exception, shown: str) -> None:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        missing = not isinstance(exc, OSError) or (
            isinstance(exc, socket.gaierror) and exc.errno in _NOBODYS
        )
        if name.failure is None:
            kept = "; its last addresses are used" if name.targets else ""
            log.warning("the name of %s does not resolve: %s%s", shown, why, kept)
        name.failure = NameUnresolved(f"connect: the name does not resolve: {why}", missing=missing)
        name.failed = trio.current_time()


_resolver: trio.lowlevel.RunVar[Resolver] = trio.lowlevel.RunVar("trio_lb resolver")


def resolver() -> Resolver:
    """The resolver of this Trio run: all who need a name share what is known of it."""
    try:
        return _resolver.get()
    except LookupError:
        found = Resolver()
        _resolver.set(found)
        return found


async def _look_up_in_thread(host: str) -> list[Target]:
    answers = await trio.to_thread.run_sync(
        lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM),
        abandon_on_cancel=True,
        limiter=trio.CapacityLimiter(1),  # its own: other names and files need theirs
    )
    found = [Target(family, str(where[0]), tuple(where[2:])) for family, _, _, _, where in answers]
    return list(dict.fromkeys(found))


def _in_turns(targets: list[Target]) -> tuple[Target, ...]:
    """The addresses in their order, but the second one is of another family than the first.

    Where one family does not work at all, the other one is tried next (RFC 8305 section 4).
    """
    first, *others = targets
    for index, target in enumerate(others):
        if target.family != first.family:
            return (first, target, *others[:index], *others[index + 1 :])
    return tuple(targets)
