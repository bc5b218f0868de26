"""Listening: bound sockets, and an accept loop that survives every error of a single connection."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import math
import os
import select
import socket
import sys
from typing import TYPE_CHECKING, NamedTuple, Protocol

import trio

from trio_lb.errors import HostLimit, ListenError
from trio_lb.plan import ANY_HOST

from .bind import bind, bind_all, bind_unix, cannot_listen
from .host_limits import watch_failed
from .transport import VANISHED_AFTER, SocketTransport, tune
from .unix_paths import OURS, rights_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from trio_lb.plan import Address, ListenerPlan

    from .deadlines import Deadlines
    from .unix_paths import Owner, Rights

log = logging.getLogger("trio_lb.listener")

BACKLOG = 4096

#: Seconds that looking up the owner of a socket may take; its database may be in the network.
_LOOK_UP = 10.0

#: A connection has the options of the socket that it was accepted from.
_INHERITED = sys.platform == "linux"

#: Clients accepted in one go.
_TURN = 64

#: Out of descriptors, buffers or permits: time for other connections to end, seconds; and where
#: idle ones are about to.
_PAUSE = 0.1
_BREATH = 0.01

#: A pause that begins sooner than this after the last one that was logged is not logged.
_QUIET = 5.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: accept(2): errors of the new connection alone; the next one may be fine.
_PASSING = (
    errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EPERM, errno.ETIMEDOUT,
)  # fmt: skip


class ConnectionLimiter(Protocol):
    """Hands out permits for clients."""

    def try_acquire(self) -> str | None:
        """Take a permit for the next client; the reason if there is none, else None."""

    def release(self) -> None:
        """Give back a permit that no client was accepted for."""

    def evict(self, *, descriptors: bool) -> bool:
        """Close idle connections; whether that makes room, or a descriptor, at once."""


class Want(NamedTuple):
    """Why a client could not be accepted: what was lacking."""

    of: str
    descriptors: bool


class Listener:
    """One bound socket, which listens from `listen` on.

    What connections want is set here, and on Linux inherited by those of its clients: five system
    calls less for each.

    Args:
        sock: the socket, non-blocking.
        address: where, with the port that the system chose if 0 was asked for.
        owned: it is ours alone, so closing it may also remove a unix socket's path.
        proxy_protocol: connections to it begin with a PROXY header.
    """

    def __init__(
        self,
        sock: socket.socket,
        address: Address,
        *,
        owned: bool = True,
        proxy_protocol: bool = False,
    ) -> None:
        self._sock = sock
        self.tune(VANISHED_AFTER)
        self._owned = owned
        self.address = address
        self.proxy_protocol = proxy_protocol

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    def tune(self, vanished_after: float) -> None:
        """Have connections that are accepted from now on end when their client vanishes.

        Args:
            vanished_after: see `trio_lb.net.transport.tune`.
        """
        self._vanished_after = vanished_after
        tune(self._sock, vanished_after)

    def listen(self) -> None:
        """Let clients connect: until they are accepted, they wait in the socket's queue.

        Raises:
            ListenError: somebody else has come to listen there meanwhile.
        """
        try:
            self._sock.listen(BACKLOG)
        except OSError as exc:
            raise cannot_listen(self.address, exc) from exc

    def accept_nowait(self, deadlines: Deadlines) -> SocketTransport | None:
        """The next client in the queue, or None.

        Raises:
            OSError: out of descriptors or memory.
        """
        while True:
            try:
                sock, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return None
            except OSError as exc:
                if exc.errno in _PASSING:
                    continue
                raise
            sock.setblocking(False)
            if not _INHERITED:
                tune(sock, self._vanished_after)
            return _transport(sock, peer, deadlines)

    async def accept_forever(
        self,
        handle: Callable[[SocketTransport], None],
        deadlines: Deadlines,
        limiter: ConnectionLimiter,
    ) -> None:
        """Hand every client to `handle`, which must not block, until cancelled; see `accept_by`.

        Args:
            handle: gets the clients.
            deadlines: of their waits.
            limiter: has the permits for them.
        """

        async def accept(_: bool) -> Want | None:
            return await self._wait() or self.accept_some(handle, deadlines, limiter)

        await self.accept_by(accept, limiter)

    async def accept_by(
        self, accept: Callable[[bool], Awaitable[Want | None]], limiter: ConnectionLimiter
    ) -> None:
        """Have clients accepted until cancelled.

        If permits, descriptors or memory run out, accepting pauses for a moment, which is logged
        from time to time. The loop goes on until it is cancelled.

        Args:
            accept: accepts clients, and returns what is lacking to go on. It may return None from
                time to time, and soon if it is called with True: then accepting was paused.
            limiter: has the permits for them.
        """
        paused = told = False
        last_told = -math.inf
        while True:
            want = await accept(paused)
            if want is not None and limiter.evict(descriptors=want.descriptors):
                await trio.sleep(_BREATH)
            elif want is not None:
                if not paused:
                    paused, told = True, trio.current_time() - last_told >= _QUIET
                    if told:
                        last_told = trio.current_time()
                        log.warning("%s: accepting is paused: %s", self.address, want.of)
                await trio.sleep(_PAUSE)
            else:
                if paused and told:
                    log.info("%s: accepting again", self.address)
                paused = False

    async def _wait(self) -> Want | None:
        """Wait for a client; or what is lacking to accept it."""
        try:
            await trio.lowlevel.wait_readable(self._sock)
        except OSError as exc:
            failure = watch_failed(exc)
            if not isinstance(failure, HostLimit):
                raise
            return Want(failure.advice, descriptors=True)
        return None

    def accept_some(
        self,
        handle: Callable[[SocketTransport], None],
        deadlines: Deadlines,
        limiter: ConnectionLimiter,
        most: int = _TURN,
    ) -> Want | None:
        """Accept clients from the queue, up to `most`, so that other tasks get their turn.

        Returns:
            What was lacking to accept more; None if nothing was.
        """
        for _ in range(most):
            if (reason := limiter.try_acquire()) is not None:
                return Want(reason, descriptors=False) if self._has_queue() else None
            try:
                transport = self.accept_nowait(deadlines)
            except OSError as exc:
                limiter.release()
                if exc.errno not in _EXHAUSTED:
                    raise
                return Want(os.strerror(exc.errno), descriptors=True)
            if transport is None:
                limiter.release()
                return None
            handle(transport)
        return None

    def _has_queue(self) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def another(self) -> Listener:
        """One more socket on the same address, with a queue of its own once it listens.

        Only for a TCP address that was opened with `reuse_port`: the system spreads clients
        evenly over such sockets.

        Raises:
            ListenError: it can't be bound.
        """
        try:
            sock = bind(self._sock.family, self._sock.getsockname(), True)
        except OSError as exc:
            raise cannot_listen(self.address, exc) from exc
        return Listener(sock, self.address)

    def close(self) -> None:
        """Stop listening; a unix socket's path is removed."""
        if self._sock.fileno() < 0:
            return
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()
        if self._owned and self.address.unix is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.address.unix)


async def open_listeners(listen: Iterable[ListenerPlan]) -> list[Listener]:
    """Bind and listen on every address, or on none.

    Args:
        listen: where, and how clients begin there.

    Raises:
        ListenError: one of them can't be bound; says which and why.
    """
    listeners = await bind_listeners(listen)
    try:
        for listener in listeners:
            listener.listen()
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


async def bind_listeners(
    listen: Iterable[ListenerPlan], *, reuse_port: bool = False, owner: Owner = OURS
) -> list[Listener]:
    """Bind every address, or none. Nobody can connect before `Listener.listen`.

    Args:
        listen: where, how clients begin there, and whose a unix socket is.
        reuse_port: more sockets for the same addresses will follow (`Listener.another`).
        owner: whose unix sockets are of which it does not say so.

    Raises:
        ListenError: one of them can't be bound; says which and why.
    """
    listeners: list[Listener] = []
    try:
        for each in listen:
            opened = await _bound(each, reuse_port, owner)
            for listener in opened:
                listener.proxy_protocol = each.proxy_protocol
            listeners += opened
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


async def _bound(listen: ListenerPlan, reuse_port: bool, owner: Owner) -> list[Listener]:
    address = listen.address
    try:
        if address.unix is not None:
            rights = await look_up_rights(listen, owner)
            return [Listener(bind_unix(address.unix, rights), address)]
        found = await trio.socket.getaddrinfo(
            None if address.host == ANY_HOST else address.host,
            address.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
        bound = bind_all(address.port, [(entry[0], entry[4]) for entry in found], reuse_port)
        return [Listener(sock, dataclasses.replace(address, port=port)) for sock, port in bound]
    except socket.gaierror as exc:
        raise ListenError(f"cannot listen on {address}: {exc.strerror}") from exc
    except OSError as exc:
        raise cannot_listen(address, exc) from exc


async def look_up_rights(listen: ListenerPlan, owner: Owner) -> Rights:
    """Whose a unix socket is to be, and who may connect.

    Raises:
        OSError: users or groups are not known any more, or can't be looked up.
    """
    with trio.move_on_after(_LOOK_UP):
        return await trio.to_thread.run_sync(rights_of, listen, owner, abandon_on_cancel=True)
    raise OSError(f"looking up its owner timed out after {_LOOK_UP:g} s")


def _transport(sock: socket.socket, peer: object, deadlines: Deadlines) -> SocketTransport:
    if isinstance(peer, tuple):
        return SocketTransport(sock, peer[0], deadlines, peer[1])
    return SocketTransport(sock, "unix:", deadlines)
