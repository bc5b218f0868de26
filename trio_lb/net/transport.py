"""The bytes of a connection: non-blocking calls, and waits that always have a deadline.

Both paths only use the few methods of `Transport`, so TCP, unix sockets, the tests' memory pipes
and, later, TLS are interchangeable. Data that can be received or sent at once costs one system
call and no call into Trio.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from enum import IntEnum
from typing import Any, Protocol, TypeAlias

import trio

from trio_lb.fast.sockets import departed, unsent

from .deadlines import NEVER, Deadlines, loop_clock
from .host_limits import watch_failed

Buffer: TypeAlias = bytes | bytearray | memoryview

RECEIVE_SIZE = 64 * 1024

End: TypeAlias = tuple[str, int] | None
"""IP address and port of one end of a connection; None for a unix socket."""

#: Seconds after which a quiet peer has vanished, where no profile says otherwise (`timeouts.body`).
VANISHED_AFTER = 30.0

_QUESTIONS = 3  # that it leaves unanswered (TCP_KEEPCNT)
_LONGEST_IDLE = 32767  # seconds; Linux's maximum

#: Receives and sends that went through at once before other tasks get their turn.
_TURN = 32


class TransportBroken(Exception):  # noqa: N818
    """The connection was reset, timed out in the kernel, or is closed on our side."""


class TimedOut(Exception):  # noqa: N818
    """The deadline of a wait has passed."""


class PeerState(IntEnum):
    """What is known of the other end of a connection, whatever of its bytes is still unread."""

    THERE = 0
    ENDED = 1  # it has sent its last byte (FIN); whether it reads on can't be told
    BROKEN = 2  # it has reset the connection, or closed it for good


class ByteStream(Protocol):
    """An ordered, two-way stream of bytes, whatever carries it."""

    def receive_nowait(self, size: int) -> bytes | None:
        """Up to `size` bytes, `b""` at the end of the stream, None: ask again after a wait.

        Raises:
            TransportBroken: the connection is no more.
        """

    def send_nowait(self, data: Buffer) -> int:
        """Send what fits now and say how many bytes that were.

        Raises:
            TransportBroken: the connection is no more.
        """

    async def wait_readable(self, deadline: float) -> None:
        """Sleep until `receive_nowait` has something to say.

        Raises:
            TimedOut: `read_by`, which begins as `deadline` (Trio's clock, seconds) and may be
                changed during the wait, has passed.
            TransportBroken: the connection is no more.
            HostLimit: this host lacks what it takes to wait, which the log has been told.
        """

    async def wait_writable(self, deadline: float) -> None:
        """Sleep until `send_nowait` can take something; raises like `wait_readable`."""

    read_by: float
    """When the wait for bytes under way gives up; see `trio_lb.net.deadlines`."""

    write_by: float
    """When the wait for room under way gives up."""

    def send_eof(self) -> None:
        """Tell the peer that no more bytes will come; errors are of no interest."""

    def reset(self) -> None:
        """Close so that the peer can't mistake what it has for a whole (TCP RST)."""


class Transport(ByteStream, Protocol):
    """A connection."""

    peer: str
    """The other end's IP address, or `unix:`."""

    born: float
    """When a server's connection was made, on Trio's clock; `NEVER` for a client's."""

    def ends(self) -> tuple[End, End]:
        """The peer's end and ours; a port that can't be told any more is 0."""

    def wake(self) -> None:
        """Have the waits under way look at their deadlines now."""

    @property
    def unsent(self) -> int:
        """Bytes that were sent here and that have not reached the peer's system yet."""

    def peek(self) -> bytes | None:
        """The next unread byte, `b""` if the stream has ended or broken, None if nothing came."""

    def peer_state(self) -> PeerState:
        """Is somebody still there?"""

    def close(self) -> None:
        """Close in good order; may be called twice."""


async def receive(transport: Transport, deadline: float, size: int = RECEIVE_SIZE) -> bytes:
    """At least one byte, or `b""` at the end of the stream.

    Raises:
        TimedOut: nothing came before `deadline`.
        TransportBroken: the connection is no more.
    """
    while True:
        data = transport.receive_nowait(size)
        if data is not None:
            return data
        await transport.wait_readable(deadline)


async def send(transport: Transport, data: Buffer, progress: float) -> None:
    """Send all of `data`.

    Args:
        transport: where to.
        data: what.
        progress: seconds within which some of it must leave, again and again.

    Raises:
        TimedOut: the peer took nothing for `progress` seconds.
        TransportBroken: the connection is no more.
    """
    clock = loop_clock()
    began, rest = clock.lived(), memoryview(data)
    while rest := rest[transport.send_nowait(rest) :]:
        unsent = transport.unsent
        with contextlib.suppress(TimedOut):
            await transport.wait_writable(clock.at(began + progress))
        now = clock.lived()
        if transport.unsent < unsent:
            began = now
        if began + progress <= now:
            raise TimedOut


class YieldBudget:
    """How long a connection that never has to wait may keep other tasks from their turn."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _TURN

    async def step(self) -> None:
        """Count one piece of work; every now and then, a checkpoint."""
        self._left -= 1
        if not self._left:
            self._left = _TURN
            await trio.lowlevel.checkpoint()


class SocketTransport:
    """A connected stream socket, TCP or unix.

    Args:
        sock: a connected, non-blocking socket; owned from now on.
        peer: the other end's address, for logs and forwarding fields.
        deadlines: who looks after its waits.
        port: the other end's, where accepting has told it.
    """

    __slots__ = (
        "_deadlines",
        "_drained",
        "_port",
        "_sock",
        "_waited",
        "born",
        "peer",
        "read_by",
        "write_by",
    )

    #: What is between its bytes and the socket, for the fast path too: a `trio_lb.fast.loop.Wire`.
    wire: Any = None

    def __init__(
        self, sock: socket.socket, peer: str, deadlines: Deadlines, port: int | None = None
    ) -> None:
        self._sock = sock
        self._port = port
        self._waited = False  # in Trio's way: only then has Trio to hear of the end
        self._drained = True  # as far as we know: most receives come right after a wait
        self._deadlines = deadlines
        self.peer = peer
        self.born = NEVER
        self.read_by = self.write_by = NEVER

    def __repr__(self) -> str:
        return f"<SocketTransport {self.peer} fd={self._sock.fileno()}>"

    @property
    def socket(self) -> socket.socket:
        """The socket, for who connects it."""
        return self._sock

    def fileno(self) -> int:
        """The socket's descriptor; -1 when closed."""
        return self._sock.fileno()

    def ends(self) -> tuple[End, End]:
        ours = self._sock.getsockname()
        if not isinstance(ours, tuple):  # a unix socket's path
            return None, None
        port = self._port
        if port is None:
            try:
                port = self._sock.getpeername()[1]
            except OSError:  # it has left already
                port = 0
        return (self.peer, port), ours[:2]

    def receive_nowait(self, size: int) -> bytes | None:
        if self._drained:
            # The last receive emptied the socket: asking before a wait would only cost an EAGAIN.
            return None
        try:
            data = self._sock.recv(size)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as exc:
            raise TransportBroken(exc.strerror or str(exc)) from exc
        self._drained = 0 < len(data) < size
        return data

    def send_nowait(self, data: Buffer) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            raise TransportBroken(exc.strerror or str(exc)) from exc

    async def wait_readable(self, deadline: float) -> None:
        self._check_open()
        self._waited = True
        self.read_by = deadline
        self._deadlines.add(self)
        try:
            while True:
                try:
                    await trio.lowlevel.wait_readable(self._sock)
                except trio.ClosedResourceError:
                    self._woken(self.read_by)
                except OSError as exc:
                    raise watch_failed(exc) from exc
                else:
                    return
        finally:
            self.read_by = NEVER
            self._deadlines.discard(self)
            self._drained = False  # whatever ended the wait, asking again makes sense

    async def wait_writable(self, deadline: float) -> None:
        self._check_open()
        self._waited = True
        self.write_by = deadline
        self._deadlines.add(self)
        try:
            while True:
                try:
                    await trio.lowlevel.wait_writable(self._sock)
                except trio.ClosedResourceError:
                    self._woken(self.write_by)
                except OSError as exc:
                    raise watch_failed(exc) from exc
                else:
                    return
        finally:
            self.write_by = NEVER
            self._deadlines.discard(self)

    def _woken(self, deadline: float) -> None:
        """A wait was interrupted: by closing, because it is late, or because another one is."""
        self._check_open()
        if deadline <= self._deadlines.judged:
            raise TimedOut from None

    def _check_open(self) -> None:
        if self._sock.fileno() < 0:
            raise TransportBroken("closed")

    def wake(self) -> None:
        # The name means another purpose, but this is what it does: it ends the waits for a socket.
        trio.lowlevel.notify_closing(self._sock)

    @property
    def unsent(self) -> int:
        return unsent(self._sock.fileno()) if self._sock.fileno() >= 0 else 0

    def peek(self) -> bytes | None:
        try:
            return self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    def peer_state(self) -> PeerState:
        fd = self._sock.fileno()
        return PeerState(departed(fd)) if fd >= 0 else PeerState.BROKEN

    def send_eof(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            if self._waited:
                trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


def tune(sock: socket.socket, vanished_after: float = VANISHED_AFTER) -> None:
    """Set what every connection wants; what the platform lacks is left out.

    No delay for small writes (40 ms stalls otherwise), and the kernel asks a peer that is quiet
    whether its system is still there. There is no time of the kernel's for a peer that takes
    nothing (TCP_USER_TIMEOUT): it would also end connections to those that only pause, whose
    systems answer. How long somebody may pause is for those to say who know what is waited for.

    Args:
        sock: a TCP socket; others are left as they are.
        vanished_after: seconds after which the peer of a quiet connection has vanished if its
            system has answered nothing (4 at least).
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    idle = round(min(max(vanished_after / 2, 1), _LONGEST_IDLE))
    between = round(min(max(vanished_after / 2 / _QUESTIONS, 1), _LONGEST_IDLE))
    options = [
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", idle),
        (socket.IPPROTO_TCP, "TCP_KEEPALIVE", idle),  # macOS's name for TCP_KEEPIDLE
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", between),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", _QUESTIONS),
    ]
    for level, name, value in options:
        option = getattr(socket, name, None)
        if option is None:
            continue
        try:
            sock.setsockopt(level, option, value)
        except OSError as exc:
            if exc.errno not in (errno.ENOPROTOOPT, errno.EINVAL, errno.EOPNOTSUPP):
                raise
