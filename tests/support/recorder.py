"""A raw server that records every byte it gets, per connection, and reads it by the letter.

Requests are read with `tests.support.strict_http`; what doesn't parse there is a fault, ends its
connection and is never answered. Answers are bytes, right or wrong.

async with open_recorder() as recorder:
    recorder.on_request = answer_ok
    ...                       # send requests to recorder.url
assert not recorder.faults
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from tests.support.net import free_port, http_url, listen_tcp, reset_on_close
from tests.support.strict_http import (
    MalformedError,
    Request,
    read_request,
    read_request_head,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class _PeerGoneError(Exception):
    pass


@dataclass(eq=False)
class Recording:
    """One accepted connection.

    Attributes:
        number: in the order of arrival, from 0.
        received: every byte.
        requests: those that are complete.
        rest: what came behind them.
        ended: set once either side has ended it.
    """

    number: int
    stream: trio.SocketStream
    received: bytearray = field(default_factory=bytearray)
    requests: list[Request] = field(default_factory=list)
    rest: bytes = b""
    ended: trio.Event = field(default_factory=trio.Event)

    async def send(self, *pieces: bytes) -> None:
        """Sends pieces one after the other, so that the peer can read each by itself."""
        for piece in pieces:
            await self.stream.send_all(piece)
            await let_others_read()

    def reset(self) -> None:
        """Ends the connection by a RST."""
        reset_on_close(self.stream)
        self.close()

    def close(self) -> None:
        """Ends the connection by a FIN."""
        self.ended.set()
        self.stream.socket.close()


Hook = Callable[[Recording, Request], Awaitable[None]]


async def nothing(recording: Recording, request: Request) -> None:
    """A hook that does nothing."""


async def let_others_read() -> None:
    """Gives tasks that wait for a socket the time to notice, to be woken and to read."""
    for _ in range(3):
        await trio.lowlevel.checkpoint()


class Recorder:
    """The server; see `open_recorder`.

    Attributes:
        recordings: of its connections.
        requests: those that are complete, of all connections, in the order of arrival.
        faults: what came and is no request, in words.
        on_head: called with each head, as a request without its body.
        on_request: called with each complete request.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.recordings: list[Recording] = []
        self.requests: list[Request] = []
        self.faults: list[str] = []
        self.on_head: Hook = nothing
        self.on_request: Hook = nothing

    @property
    def url(self) -> str:
        """Where it listens."""
        return http_url("127.0.0.1", self.port)

    @property
    def authority(self) -> str:
        """Where it listens, as in Host."""
        return f"127.0.0.1:{self.port}"

    def close_connections(self) -> None:
        """Ends all connections that are open, by a FIN."""
        for recording in self.recordings:
            recording.close()

    async def listen(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Accepts connections until cancelled."""
        with listen_tcp("127.0.0.1", self.port) as listener:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    sock, _ = await listener.accept()
                    recording = Recording(len(self.recordings), trio.SocketStream(sock))
                    self.recordings.append(recording)
                    nursery.start_soon(self._serve, recording)

    async def _serve(self, recording: Recording) -> None:
        try:
            while not recording.ended.is_set():
                head = await self._read(recording, read_request_head)
                await self.on_head(recording, head)
                request = await self._read(recording, read_request)
                recording.rest = recording.rest[len(request.raw) :]
                recording.requests.append(request)
                self.requests.append(request)
                await self.on_request(recording, request)
        except MalformedError as exc:
            self.faults.append(f"{exc} in {recording.rest!r}")
        except (_PeerGoneError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            recording.close()

    async def _read(
        self, recording: Recording, reader: Callable[[bytes], Request | None]
    ) -> Request:
        while (request := reader(recording.rest)) is None:
            data = await recording.stream.receive_some(65536)
            if not data:
                raise _PeerGoneError
            recording.received += data
            recording.rest += data
        return request


@asynccontextmanager
async def open_recorder() -> AsyncIterator[Recorder]:
    """Runs a recorder on a free port until the block is left."""
    async with trio.open_nursery() as nursery:
        recorder = Recorder(free_port())
        await nursery.start(recorder.listen)
        yield recorder
        nursery.cancel_scope.cancel()
