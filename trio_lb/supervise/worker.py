"""A worker process: `python -m trio_lb.supervise.worker FD`, where FD is its supervisor's socket.

It forwards requests until it is told to drain. Should its supervisor be gone, it drains too, and
quickly: whoever starts the next one wants the addresses.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import trio

from trio_lb import logs
from trio_lb.config import parse_listen_address, parse_profile
from trio_lb.net.listen import Listener
from trio_lb.pool import ServerPool, attach
from trio_lb.runtime.garbage import freeze_gc
from trio_lb.runtime.service import open_service

from .orders import ACCEPT, DRAIN, READY, STAND_IN, Lines, Orders, absent_of

if TYPE_CHECKING:
    from trio_lb.fast.table.table import Table
    from trio_lb.runtime.service import Service

    from .orders import ListenOrder

log = logging.getLogger("trio_lb.worker")

#: Seconds between two heartbeats.
BEAT = 0.5

#: Seconds that requests have to finish when the supervisor has died.
_ORPHANED = 3.0


def main() -> int:
    """Work until drained.

    Returns:
        0 if everything in flight was finished.
    """
    # Also where these reach a whole group of processes, they are for the supervisor alone: it has
    # us drain, or gets others in our place.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.setblocking(False)
    return trio.run(_obey, control)


async def _obey(control: socket.socket) -> int:
    async with trio.SocketStream(trio.socket.from_stdlib_socket(control)) as stream:
        return await _work(stream)


async def _work(stream: trio.SocketStream) -> int:
    lines = Lines(stream)
    line = await lines.next()
    if not line:  # the supervisor has ended meanwhile
        return 1
    orders = msgspec.json.decode(line, type=Orders)
    logs.configure(orders.log_level, orders.log_levels)
    profile = msgspec.structs.replace(
        parse_profile(orders.profile, "<orders>", {}), from_environment=orders.from_environment
    )
    by_fd = {order.fd: order for each in orders.listen for order in each}
    listener = {fd: _listener(order) for fd, order in by_fd.items()}
    listeners = [[listener[order.fd] for order in each] for each in orders.listen]
    own = listeners[orders.number]
    others = [each for each in listener.values() if each not in own]
    table = attach(orders.table, orders.row, epoch=trio.current_time() - time.monotonic())
    os.close(orders.table)
    table.enter(os.getpid(), trio.current_time())
    servers = ServerPool(profile.servers, profile.algorithm, table=table, slots=orders.slots)
    async with (
        open_service(profile, own, servers, orders.pages, others) as service,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_beat, table)
        freeze_gc()
        with suppress(trio.BrokenResourceError):  # it has ended, as the next line will show
            await stream.send_all(READY)
        drained = True
        if await lines.next() == ACCEPT:
            await nursery.start(service.accept)
            drained = await _serve_as_told(lines, service, listeners)
        nursery.cancel_scope.cancel()
    return 0 if drained else 1


def _listener(order: ListenOrder) -> Listener:
    return Listener(
        socket.socket(fileno=order.fd),
        parse_listen_address(order.address),
        owned=False,
        proxy_protocol=order.proxy_protocol,
    )


async def _beat(table: Table) -> None:
    """Show that the loop turns; the supervisor replaces a worker whose heart has stopped."""
    while True:
        table.beat(trio.current_time())
        await trio.sleep(BEAT)


async def _serve_as_told(lines: Lines, service: Service, listeners: list[list[Listener]]) -> bool:
    """Stand in for others as told; then drain, in a hurry once the supervisor is gone.

    Returns:
        True if everything in flight was finished.
    """
    while (line := await lines.next()).startswith(STAND_IN):
        service.accept_also({each for absent in absent_of(line) for each in listeners[absent]})
    drained = True

    async def drain(seconds: float | None) -> None:
        nonlocal drained
        drained = await service.drain(seconds) and drained
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        if line == DRAIN:
            nursery.start_soon(drain, None)
            await lines.next()
        log.warning("the supervisor is gone: draining, for up to %g s", _ORPHANED)
        nursery.start_soon(drain, _ORPHANED)
    return drained


if __name__ == "__main__":
    sys.exit(main())
