"""What a supervisor and its workers say to each other, over one socket for each worker.

The supervisor says one line of JSON, the orders. The worker says `ready` once it could accept
clients, and does so when it is told to `accept`: a profile comes into effect with all its workers,
or not at all. Later it may be told to `stand in for` the numbers of workers that are not there at
the moment, and to `drain`. That the other one is gone is said by the end of the stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from trio_lb.config import ErrorPage  # noqa: TC001 -- msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Iterable

READY = b"ready\n"
ACCEPT = b"accept\n"
DRAIN = b"drain\n"
STAND_IN = b"stand in for"

#: Longest line; a profile of a thousand servers has about 100 KiB.
_LONGEST = 64 * 1024 * 1024


class ListenOrder(msgspec.Struct, frozen=True):
    """A listening socket that a worker inherits.

    Attributes:
        fd: its descriptor, in the worker.
        address: what it is bound to, as a URL.
        proxy_protocol: connections to it begin with a PROXY header.
    """

    fd: int
    address: str
    proxy_protocol: bool = False


class Orders(msgspec.Struct, frozen=True):
    """All that a worker needs to know.

    Attributes:
        profile: resolved, as YAML, without the files of the error pages.
        from_environment: its values that are not to be shown, and what is in their place.
        pages: those pages, by status.
        table: descriptor of the table's memory.
        row: which row of it is the worker's.
        slots: where the profile's servers are in it.
        number: which one of the workers it is, from 0.
        listen: the sockets to accept from, of each worker; some may have the same ones.
        log_level: least serious messages that are logged.
        log_levels: those of single loggers, which go over it.
    """

    profile: str
    from_environment: dict[str, str]
    pages: dict[int, ErrorPage]
    table: int
    row: int
    slots: list[int]
    number: int
    listen: list[list[ListenOrder]]
    log_level: str
    log_levels: list[tuple[str | None, str]]

    def line(self) -> bytes:
        """As they are sent."""
        return msgspec.json.encode(self) + b"\n"


def cover_for(absent: Iterable[int]) -> bytes:
    """The line that has a worker accept also from the sockets of these, and of no others."""
    return b"%s %s\n" % (STAND_IN, " ".join(map(str, absent)).encode())


def absent_of(line: bytes) -> list[int]:
    """For whom a worker has to stand in."""
    return list(map(int, line.removeprefix(STAND_IN).split()))


class Lines:
    """Lines from the other side."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._received = bytearray()

    async def next(self) -> bytes:
        """The next line with its end, or `b""` when the other side is gone."""
        while (end := self._received.find(b"\n")) < 0:
            try:
                data = await self._stream.receive_some()
            except trio.BrokenResourceError:
                return b""
            if not data or len(self._received) > _LONGEST:
                return b""
            self._received += data
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        return line
