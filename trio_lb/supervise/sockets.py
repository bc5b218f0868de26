"""The listening sockets: opened by the supervisor, inherited by workers, never closed in between.

Every worker has a socket of its own for each address, where the system can spread clients over
several (Linux); a unix socket, a socket that was passed to us, and any address elsewhere is one for
all of them. A socket stays open when its worker dies or is replaced, and others accept from it
until the next one is there. When a reload lowers the number of workers, those that stay adopt the
sockets left over: closing one would reset who is in its queue at that moment.

A socket that a reload opens is only bound until `commit`: should the reload be refused, nobody was
in its queue.
"""

from __future__ import annotations

import functools
import logging
import socket
import sys
from typing import TYPE_CHECKING

from trio_lb.errors import ListenError
from trio_lb.net.listen import Listener, bind_listeners, look_up_rights
from trio_lb.net.unix_paths import OURS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from trio_lb.net.unix_paths import Owner, Rights
    from trio_lb.plan import Address, ListenerPlan

log = logging.getLogger("trio_lb.supervisor")


@functools.cache
def _spreads() -> bool:
    """Whether this system spreads clients over several sockets at one address.

    Elsewhere than on Linux SO_REUSEPORT lets several bind, but gives all clients to one of them.
    """
    if sys.platform != "linux":
        return False
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError as exc:
            log.debug("no SO_REUSEPORT (%s): workers share their listening sockets", exc.strerror)
            return False
    return True


class ListeningSockets:
    """All listening sockets of a supervisor.

    Args:
        passed: sockets that a service manager has opened for us, with their addresses. They take
            the place of what profiles say.
        owner: whose unix sockets are of which a profile does not say so.
    """

    def __init__(
        self,
        passed: list[tuple[socket.socket, Address]] | None = None,
        owner: Owner = OURS,
    ) -> None:
        self._owner = owner
        #: By address as the profile has it, which may stand for several; each of these has a list
        #: of sockets.
        self._queues: dict[Address, list[list[Listener]]] = {}
        self._added: list[Listener] = []
        #: What the unix sockets that were there before will get.
        self._rights: list[tuple[str, Rights]] = []
        self._passed = [[Listener(sock, address, owned=False)] for sock, address in passed or []]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where clients connect, with real ports; `*` once, for IPv4 and IPv6."""
        return tuple(dict.fromkeys(queue[0].address.url for queue in self._all()))

    async def open(self, listen: tuple[ListenerPlan, ...], workers: int) -> None:
        """Bind what is missing of this for so many workers; `commit` or `undo` follows.

        Where sockets for all workers can't be opened (a low port, and root's rights were dropped
        meanwhile), some have to share one.

        Raises:
            ListenError: an address can't be bound; nothing was opened.
        """
        if self._passed:
            return
        for each in listen:
            address = each.address
            spread = _spreads() and address.unix is None
            try:
                if address not in self._queues:
                    found = await bind_listeners((each,), reuse_port=spread, owner=self._owner)
                else:
                    found = []
                    await self._look_at_rights(each)
            except BaseException:
                self.undo()
                raise
            if found:
                self._queues[address] = [[listener] for listener in found]
                self._added += found
            if spread:
                for queue in self._queues[address]:
                    self._grow(queue, workers)

    async def _look_at_rights(self, listen: ListenerPlan) -> None:
        """Note what a socket that is there already has to have from now on."""
        if listen.address.unix is None:
            return
        try:
            self._rights.append((listen.address.unix, await look_up_rights(listen, self._owner)))
        except OSError as exc:
            raise ListenError(f"cannot listen on {listen.address}: {exc}") from exc

    def _grow(self, queue: list[Listener], workers: int) -> None:
        while len(queue) < workers:
            try:
                another = queue[0].another()
            except ListenError as exc:
                log.warning("%s: workers share one listening socket", exc)
                return
            queue.append(another)
            self._added.append(another)

    def commit(self, addresses: Collection[Address]) -> None:
        """Let clients connect to what was opened, and close what is of no address of these.

        A worker that accepts from one of those still takes who is in its queue.

        Raises:
            ListenError: somebody else listens there now; `undo` is left to do.
        """
        for listener in self._added:
            listener.listen()
        self._added.clear()
        for path, rights in self._rights:
            try:
                rights.give(path)
            except OSError as exc:  # root's rights were dropped meanwhile
                log.warning("unix:%s: owner and mode are unchanged: %s", path, exc)
        self._rights.clear()
        for address in [address for address in self._queues if address not in addresses]:
            for queue in self._queues.pop(address):
                self._close(queue)

    def undo(self) -> None:
        """Close what was opened since the last `commit`: nobody accepts from it."""
        self._rights.clear()
        self._close(self._added)
        for address, queues in list(self._queues.items()):
            left = [[each for each in queue if each not in self._added] for queue in queues]
            self._queues[address] = left
            if not any(left):
                del self._queues[address]
        self._added.clear()

    def of_worker(
        self, addresses: tuple[Address, ...], worker: int, workers: int
    ) -> list[Listener]:
        """The sockets from which one of so many workers accepts."""
        queues = self._passed or [each for address in addresses for each in self._queues[address]]
        mine: list[Listener] = []
        for queue in queues:
            mine += queue[worker::workers] or [queue[worker % len(queue)]]
        return mine

    def with_proxy_header(self, listen: Iterable[ListenerPlan]) -> set[Listener]:
        """Those whose connections begin with a PROXY header, as a profile has it.

        That is no property of a socket: a reload may change it while the socket stays. One that was
        passed to us is meant where a profile names its very address.
        """
        addresses = {each.address for each in listen if each.proxy_protocol}
        queues = [queue for queue in self._passed if queue[0].address in addresses]
        for address in addresses & self._queues.keys():
            queues += self._queues[address]
        return {listener for queue in queues for listener in queue}

    def close(self) -> None:
        """Close all of them."""
        self._added.clear()
        for queue in self._all():
            self._close(queue)
        self._queues.clear()

    def _close(self, listeners: list[Listener]) -> None:
        for listener in listeners:
            listener.close()

    def _all(self) -> list[list[Listener]]:
        return self._passed or [queue for queues in self._queues.values() for queue in queues]
