"""What a new connection costs, counted: system calls, and what only the slow path needs."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio_lb
from tests.support import scripts
from tests.support.client import End
from tests.support.rig import get, open_socket_bed
from trio_lb.http.identity import Identification
from trio_lb.http1.codec import ClientCodec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

OURS = str(Path(trio_lb.__file__).parent)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts what our code calls of sockets, and what else tells a connection's cost."""
    calls: Counter[str] = Counter()
    dear = {
        each.__code__: each.__qualname__ for each in (ClientCodec.__init__, Identification.identify)
    }

    def note(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and frame.f_code.co_filename.startswith(OURS):
            if isinstance(getattr(called, "__self__", None), socket.socket):
                calls[called.__name__] += 1
        elif event == "call" and frame.f_code in dear:
            calls[dear[frame.f_code]] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def test_the_calls_for_connections_with_one_plain_request_each() -> None:
    """None in Python: they are accepted, served and closed by the compiled path."""
    async with open_socket_bed(scripts.answer(b"short")) as bed:

        async def ask() -> None:
            async with bed.client() as client:
                await client.send(get("/", "Connection: close"))
                assert (await client.read_response()).body == b"short"
                assert await client.read_until_close() == (b"", End.EOF)

        await ask()  # what is made for the first one lasts
        with counted() as calls:
            for _ in range(10):
                await ask()
        assert not calls


async def test_an_idle_client_costs_nothing_ten_times_a_second() -> None:
    """Deadlines of the slow path are looked through that often: none is of somebody idle."""
    async with open_socket_bed(scripts.answer()) as bed, AsyncExitStack() as stack:
        for _ in range(20):
            client = await stack.enter_async_context(bed.client())
            await client.send(get())
            await client.read_response()
        assert len(bed.lb._service._upstreams) > 0
        assert len(bed.lb._service.deadlines) == 0
