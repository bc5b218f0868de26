"""A worker process, forked by the zygote or run as `python -m trio_lb.supervise.worker FD`.

It forwards requests until it is told to drain. If its supervisor has died, it drains too, in a
short time, so that the addresses are free for a new start.
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

import trio

from trio_lb import logs
from trio_lb.net.listen import Listener
from trio_lb.pool import Members, ServerPool, attach
from trio_lb.runtime.garbage import freeze_gc
from trio_lb.runtime.service import open_service

from .descriptors import receive_descriptors
from .messages import (
    Accept,
    BadMessage,
    CoverFor,
    Drain,
    MembersSet,
    Ready,
    SetMembers,
    Start,
    control_of_supervisor,
)

if TYPE_CHECKING:
    from trio_lb.fast.table import Table
    from trio_lb.runtime.service import Service

    from .messages import Control, InheritedSocket, ToSupervisor, ToWorker

log = logging.getLogger("trio_lb.worker")

#: Seconds between two heartbeats.
BEAT = 0.5

#: Seconds that requests have to finish when the supervisor has died.
_ORPHANED = 3.0

_BAD = "the supervisor sent what can't be understood"


def leave_signals_to_the_supervisor() -> None:
    """Ignore signals that reach the whole process group and are meant for the supervisor.

    The supervisor drains or replaces its workers.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def work(sock: socket.socket) -> int:
    """Work until drained.

    Args:
        sock: to the supervisor.

    Returns:
        0 if everything in flight was finished.
    """
    logs.configure("info")  # until the supervisor says more
    try:
        descriptors = receive_descriptors(sock)
    except EOFError:  # it has ended meanwhile
        return 1
    except OSError as exc:
        log.error("%s: %s", _BAD, exc)
        return 1
    sock.setblocking(False)
    return trio.run(_obey, sock, descriptors)


async def _obey(sock: socket.socket, descriptors: list[int]) -> int:
    async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as stream:
        control = control_of_supervisor(stream)
        try:
            return await _work(control, descriptors)
        except BadMessage as exc:
            log.error("%s: %s", _BAD, exc)
            return 1


async def _work(control: Control[ToSupervisor, ToWorker], descriptors: list[int]) -> int:
    start = await control.receive()
    if start is None:  # the supervisor has ended meanwhile
        return 1
    if not isinstance(start, Start):
        raise BadMessage(f"expected Start, got {type(start).__name__}")
    plan = start.plan
    logs.configure(plan.log_level, start.log_levels)
    sockets = {sock.position: sock for each in start.listen for sock in each}
    listener = {at: _listener(sock, descriptors[at]) for at, sock in sockets.items()}
    listeners = [[listener[sock.position] for sock in each] for each in start.listen]
    own = listeners[start.number]
    others = [each for each in listener.values() if each not in own]
    memory = descriptors[start.table]
    table = attach(memory, start.row, epoch=trio.current_time() - time.monotonic())
    os.close(memory)
    table.enter(os.getpid(), trio.current_time())
    (pool,) = plan.pools
    members = Members(pool.servers, start.slots[pool.name])
    servers = ServerPool(members, pool.algorithm, table)
    async with (
        open_service(plan, own, table, servers, others) as service,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_beat, table)
        freeze_gc()
        with suppress(trio.BrokenResourceError):  # it has ended, as the next message will show
            await control.send(Ready())
        drained = True
        message = await control.receive()
        while isinstance(message, SetMembers):
            await _set_members(control, service, message)
            message = await control.receive()
        if isinstance(message, Accept):
            await nursery.start(service.accept)
            drained = await _serve_as_told(control, service, listeners)
        elif message is not None and not isinstance(message, Drain):
            raise BadMessage(f"expected Accept, got {type(message).__name__}")
        nursery.cancel_scope.cancel()
    return 0 if drained else 1


async def _set_members(
    control: Control[ToSupervisor, ToWorker], service: Service, message: SetMembers
) -> None:
    members = Members(message.servers, message.slots, message.version)
    service.set_members(members, message.algorithm)
    with suppress(trio.BrokenResourceError):  # it has ended, as the next message will show
        await control.send(MembersSet(message.pool, message.version))


def _listener(sock: InheritedSocket, descriptor: int) -> Listener:
    return Listener(
        socket.socket(fileno=descriptor),
        sock.address,
        owned=False,
        proxy_protocol=sock.proxy_protocol,
    )


async def _beat(table: Table) -> None:
    """Write a heartbeat; the supervisor replaces a worker that has none."""
    while True:
        table.beat(trio.current_time())
        await trio.sleep(BEAT)


async def _serve_as_told(
    control: Control[ToSupervisor, ToWorker], service: Service, listeners: list[list[Listener]]
) -> bool:
    """Obey the supervisor until drained; hurry if it has died or says something unknown.

    Returns:
        True if everything in flight was finished.
    """
    drained = True

    async def drain(seconds: float | None) -> None:
        nonlocal drained
        drained = await service.drain(seconds) and drained
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        try:
            while (message := await control.receive()) is not None:
                match message:
                    case CoverFor(absent):
                        others = {each for number in absent for each in listeners[number]}
                        service.accept_also(others)
                    case SetMembers():
                        await _set_members(control, service, message)
                    case Drain():
                        nursery.start_soon(drain, None)
                    case _:
                        raise BadMessage(f"{type(message).__name__} is for another time")
            log.warning("the supervisor is gone: draining, for up to %g s", _ORPHANED)
        except BadMessage as exc:
            log.error("%s: %s: draining, for up to %g s", _BAD, exc, _ORPHANED)
            drained = False
        nursery.start_soon(drain, _ORPHANED)
    return drained


if __name__ == "__main__":
    leave_signals_to_the_supervisor()
    sys.exit(work(socket.socket(fileno=int(sys.argv[1]))))
