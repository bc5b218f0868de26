"""All that a supervisor and its workers say to each other, over one socket for each worker.

The supervisor hands descriptors over (`supervise/descriptors.py`), which messages call by their
position among them. Then it sends `Start`, and the worker `Ready` once it could accept clients. It
does so when it is sent `Accept`: a profile comes into effect with all its workers, or not at all.
From then on it may be sent other members of a pool (`SetMembers`, answered by `MembersSet`), the
numbers of workers that are not there at the moment (`CoverFor`), and in the end `Drain`. That the
other side is gone is said by the end of the stream.

A message is a msgpack map that names its type, behind its length in four bytes.
"""

from __future__ import annotations

from typing import Final, Generic, TypeAlias, TypeVar

import msgspec
import trio
from msgspec import Struct

from trio_lb.errors import TrioLBError
from trio_lb.plan import Address, Algorithm, Plan, ServerPlan  # noqa: TC001 -- msgspec reads these

MAX_BYTES: Final = 64 * 1024 * 1024
"""Longest message; one with 20,000 servers has some 2 MiB."""

_LENGTH: Final = 4


class InheritedSocket(Struct, frozen=True):
    """A listening socket that a worker inherits.

    Attributes:
        position: of its descriptor among those that the worker was handed.
        address: what it is bound to.
        proxy_protocol: connections to it begin with a PROXY header.
    """

    position: int
    address: Address
    proxy_protocol: bool = False


# To a worker


class Start(Struct, frozen=True, tag="start"):
    """All that a worker needs to know.

    Attributes:
        plan: what it does.
        table: position of the descriptor of the table's memory.
        row: which row of it is the worker's.
        slots: where the servers of each pool are in it, by the pool's name.
        number: which one of the workers it is, from 0.
        listen: the sockets to accept from, of each worker; some may have the same ones.
        log_levels: what the command line says about logging, which overrides the plan's.
    """

    plan: Plan
    table: int
    row: int
    slots: dict[str, tuple[int, ...]]
    number: int
    listen: list[list[InheritedSocket]]
    log_levels: list[tuple[str | None, str]]


class Accept(Struct, frozen=True, tag="accept"):
    """Accept clients from now on."""


class CoverFor(Struct, frozen=True, tag="cover_for"):
    """Accept also from the sockets of these workers, and of no others.

    Attributes:
        workers: their numbers.
    """

    workers: tuple[int, ...]


class SetMembers(Struct, frozen=True, tag="set_members"):
    """From the next request on, serve a pool from these servers.

    Attributes:
        pool: its name.
        version: of its members; each one sent is larger than those before.
        algorithm: by which one of them is picked.
        servers: all of them.
        slots: where they are in the table, in the same order.
    """

    pool: str
    version: int
    algorithm: Algorithm
    servers: tuple[ServerPlan, ...]
    slots: tuple[int, ...]


class Drain(Struct, frozen=True, tag="drain"):
    """Finish what is in hand, and end."""


# To the supervisor


class Ready(Struct, frozen=True, tag="ready"):
    """Clients could be accepted now."""


class MembersSet(Struct, frozen=True, tag="members_set"):
    """No request is sent any more to who is not among these members.

    Attributes:
        pool: as in `SetMembers`.
        version: likewise.
    """

    pool: str
    version: int


ToWorker: TypeAlias = Start | Accept | CoverFor | SetMembers | Drain
ToSupervisor: TypeAlias = Ready | MembersSet

_Received = TypeVar("_Received")
_Sent = TypeVar("_Sent", bound=Struct)


class BadMessage(TrioLBError):  # noqa: N818 -- not an error: a reason to end the other side
    """What came is no message, or one for the other side."""


class Control(Generic[_Sent, _Received]):
    """One end of the socket between the supervisor and a worker."""

    def __init__(
        self, stream: trio.abc.Stream, decoder: msgspec.msgpack.Decoder[_Received]
    ) -> None:
        self._stream = stream
        self._decoder = decoder
        self._unread = bytearray()

    async def send(self, message: _Sent) -> None:
        """Send a message.

        Raises:
            trio.BrokenResourceError: the other side is gone.
        """
        data = msgspec.msgpack.encode(message)
        await self._stream.send_all(len(data).to_bytes(_LENGTH) + data)

    async def receive(self) -> _Received | None:
        """The next message, or None when the other side is gone.

        Raises:
            BadMessage: what came is none.
        """
        head = await self._take(_LENGTH)
        if head is None:
            return None
        length = int.from_bytes(head)
        if length > MAX_BYTES:
            raise BadMessage(f"its length is {length}, and none is longer than {MAX_BYTES}")
        data = await self._take(length)
        if data is None:
            return None
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise BadMessage(str(error)) from None

    async def _take(self, size: int) -> bytes | None:
        """So many bytes; None if the stream ends before."""
        while len(self._unread) < size:
            try:
                data = await self._stream.receive_some()
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._unread += data
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken


_TO_WORKER: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_TO_SUPERVISOR: msgspec.msgpack.Decoder[ToSupervisor] = msgspec.msgpack.Decoder(ToSupervisor)


def control_of_worker(stream: trio.abc.Stream) -> Control[ToWorker, ToSupervisor]:
    """The supervisor's end: what it sends goes to a worker."""
    return Control(stream, _TO_SUPERVISOR)


def control_of_supervisor(stream: trio.abc.Stream) -> Control[ToSupervisor, ToWorker]:
    """A worker's end: what it sends goes to the supervisor."""
    return Control(stream, _TO_WORKER)
