"""Clients that keep a balancer busy, and what each of their requests came to.

load = Load(balancer.addresses[0], clients=8, method="POST")
async with trio.open_nursery() as nursery:
    nursery.start_soon(load.run, 3.0)     # seconds
    ...                                   # do harm
assert not load.failures
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from tests.support.client import Client, End, Response, open_client

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.backend import Backend


@dataclass(frozen=True)
class Result:
    """One request, and how it ended; times in seconds."""

    request_id: str
    response: Response
    started: float
    seconds: float

    @property
    def ok(self) -> bool:
        """A whole response with a 2xx status."""
        return self.response.complete and self.response.status // 100 == 2


@dataclass
class Load:
    """Clients with a keep-alive connection each, which send their next request after each answer.

    Attributes:
        clients: how many.
        method: GET, or POST with a body.
        pause: seconds between an answer and the next request.
    """

    url: str
    clients: int = 8
    method: str = "GET"
    body: bytes = b""
    pause: float = 0.0
    results: list[Result] = field(default_factory=list)
    _end: float = -math.inf
    _serial: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def failures(self) -> list[Result]:
        """Those that were not answered with a whole 2xx."""
        return [result for result in self.results if not result.ok]

    def since(self, time: float) -> list[Result]:
        """Those that began at `time` or later."""
        return [result for result in self.results if result.started >= time]

    def stop(self) -> None:
        """Let no more requests begin."""
        self._end = -math.inf

    async def run(self, seconds: float) -> None:
        """Go on for so long, or until stopped; returns when the last answer has come."""
        self._end = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for _ in range(self.clients):
                nursery.start_soon(self._be_a_client)

    async def _be_a_client(self) -> None:
        while trio.current_time() < self._end:
            started = trio.current_time()
            try:
                async with open_client(self.url) as client:
                    await self._ask(client)
            except OSError:
                self._add("none", Response(end=End.REFUSED), started)
                await trio.sleep(0.01)

    async def _ask(self, client: Client) -> None:
        """Send requests on one connection, until it or the time ends."""
        goes_on = True
        while goes_on and trio.current_time() < self._end:
            started = trio.current_time()
            request_id = f"{self.method}-{next(self._serial)}"
            head = f"{self.method} / HTTP/1.1\r\nHost: a\r\nX-Request-ID: {request_id}\r\n"
            if self.method == "POST":
                head += f"Content-Length: {len(self.body)}\r\n"
            try:
                await client.send(head.encode() + b"\r\n" + self.body)
                response = await client.read_response(self.method)
            except trio.BrokenResourceError:
                response = Response(end=End.RESET)
            self._add(request_id, response, started)
            goes_on = response.complete and response.header("connection") != "close"
            await trio.sleep(self.pause)

    def _add(self, request_id: str, response: Response, started: float) -> None:
        took = trio.current_time() - started
        self.results.append(Result(request_id, response, started, took))


def p99(results: Iterable[Result]) -> float:
    """Returns the time within which 99 of 100 were answered, in seconds."""
    times = sorted(result.seconds for result in results)
    return times[math.ceil(len(times) * 0.99) - 1]


def executions(*backends: Backend) -> Counter[str | None]:
    """Returns how often each request reached a server, over all of them."""
    return sum((backend.request_ids for backend in backends), Counter())
