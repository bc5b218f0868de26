"""Clients of a chaos run: they visit the balancer, and judge every answer.

As a process of its own, so that it can be stopped: `python -m tests.chaos.client ORDERS`, where
these are `Orders` as JSON. It writes its `Findings` as JSON.
"""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import trio

from tests.chaos.messages import request_parts
from tests.chaos.oracle import Circumstance, End, Seen, WrongError, behind, judge
from tests.chaos.plan import Flavour, exchange_of
from tests.chaos.reader import Reader
from tests.chaos.visits import visits
from tests.support.net import reset_on_close
from tests.support.strict_http import MalformedError

if TYPE_CHECKING:
    from tests.chaos.plan import Exchange
    from tests.chaos.visits import Visit
    from tests.support.strict_http import Response

#: Seconds that a visit may take: longer than all faults that may meet in one.
LIMIT = 90.0
#: Seconds that a client waits for 100 (Continue).
CONTINUE = 20.0
#: Seconds in which a connection ends behind its last answer.
LINGER = 15.0


@dataclass(frozen=True)
class Orders:
    """What a process of clients shall do.

    Attributes:
        port: of the balancer.
        seed: of the run.
        flavour: of the servers.
        seconds: after which no visit begins.
        visitors: at the same time.
        first: number of its first request.
        step: to the next; so processes share the numbers.
        pause: seconds between two visits of a visitor, at most.
        circumstances: see there.
    """

    port: int
    seed: str
    flavour: Flavour
    seconds: float
    visitors: int = 6
    first: int = 0
    step: int = 1
    pause: float = 0.5
    circumstances: tuple[Circumstance, ...] = ()


@dataclass
class Findings:
    """What came of it.

    Attributes:
        outcomes: by key.
        wrong: what must not have happened, in words.
        refused: how often no connection was to be had.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    refused: int = 0


class _LeftError(Exception):
    """The client goes, as it is planned."""


class Visitor:
    """One visit; see `pay`."""

    def __init__(self, visit: Visit, stream: trio.SocketStream, orders: Orders) -> None:
        self._visit = visit
        self._stream = stream
        self._circumstances = frozenset(orders.circumstances)
        self._reader = Reader(stream, slow=visit.slow, limit=visit.leaves_got)
        self._sending = trio.Lock()
        self._sent = 0
        self._answered = 0
        self._left = False
        self._spoiled = False  # what follows tells nothing
        self._over = False  # nothing more is to be sent
        self._changed = trio.Event()
        self._unjudged: Response | None = None
        self._last = ""  # how the last answer ended
        self._echo = b""

    async def pay(self, findings: Findings) -> None:
        """Send and read all of it."""
        with trio.move_on_after(LIMIT) as limit:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send, nursery.cancel_scope)
                    await self._read_all(findings)
                    nursery.cancel_scope.cancel()
            finally:
                if self._left and self._visit.resets:
                    reset_on_close(self._stream)
                self._stream.socket.close()
        if limit.cancelled_caught:
            self._note(findings, self._key, f"no end after {LIMIT} s")
        self._settle(findings)

    @property
    def _key(self) -> str:
        return self._visit.keys[min(self._answered, len(self._visit.keys) - 1)]

    def _settle(self, findings: Findings) -> None:
        """What is to be said of those that got no answer."""
        if self._left:
            self._judge_rest(findings)
        untold = "left" if self._left or self._spoiled else behind(self._last)
        for key in self._visit.keys:
            findings.outcomes.setdefault(key, untold)

    def _judge_rest(self, findings: Findings) -> None:
        """The client has left, but what it has seen by then must be right."""
        if self._answered < len(self._visit.keys):
            exchange = exchange_of(self._key)
            try:
                response = self._unjudged or self._reader.partial(exchange.asked.method)
                seen = replace(self._seen(response), left=True)
                judge(exchange, seen, self._circumstances)
            except (WrongError, MalformedError) as exc:
                self._note(findings, exchange.key, str(exc))

    async def _read_all(self, findings: Findings) -> None:
        for key in self._visit.keys:
            exchange = exchange_of(key)
            try:
                seen = await self._read(exchange)
                outcome = judge(exchange, seen, self._circumstances)
            except _LeftError:
                return
            except (WrongError, MalformedError) as exc:
                findings.outcomes[key] = "wrong"
                self._spoiled = True
                self._note(findings, key, str(exc))
                return
            findings.outcomes[key] = self._last = outcome
            self._answered += 1
            self._unjudged = None
            self._notify()
            if _is_last(exchange, seen.response):
                break
        self._over = True
        self._notify()
        try:
            await self._read_end()
        except WrongError as exc:
            self._note(findings, key, str(exc))

    async def _read(self, exchange: Exchange) -> Seen:
        response = await self._reader.next_response(exchange.asked.method, self._notify)
        self._unjudged = response
        self._left = self._left or self._reader.reached
        if self._left:
            raise _LeftError
        if exchange.asked.upgrade and response is not None and response.status == 101:
            await self._talk(exchange)
        if self._left:
            raise _LeftError
        return self._seen(response)

    def _seen(self, response: Response | None) -> Seen:
        reader = self._reader
        half_closed = self._visit.half_closes
        return Seen(response, reader.interim, reader.end, self._echo, half_closed=half_closed)

    async def _talk(self, exchange: Exchange) -> None:
        """Send bytes through a tunnel, and read what comes back, to its end."""

        async def send() -> None:
            try:
                async with self._sending:  # the end of the request may just be leaving
                    for at in range(0, len(exchange.upload), 20_000):
                        await self._stream.send_all(exchange.upload[at : at + 20_000])
                    await self._stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # what came of it, reading tells

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            self._echo, self._reader.unread = await self._reader.rest(), b""
            nursery.cancel_scope.cancel()
        self._left = self._left or self._reader.reached

    async def _read_end(self) -> None:
        """No byte comes behind the last answer; and the end does, if it was to come."""
        reader = self._reader
        if reader.end is End.OPEN and reader.closing:
            with trio.move_on_after(LINGER):
                await reader.rest()
            if reader.end is End.OPEN:
                raise WrongError("Connection: close, and no end")
        else:
            with trio.move_on_after(self._visit.idle):
                await reader.rest()
        if reader.unread:
            raise WrongError(f"bytes behind the last answer: {reader.unread[:200]!r}")

    async def _send(self, scope: trio.CancelScope) -> None:
        try:
            await self._send_all()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # what came of it, reading tells
        except _LeftError:
            self._left = True
            scope.cancel()

    async def _send_all(self) -> None:
        pending, keys = b"", self._visit.keys
        for index, key in enumerate(keys):
            exchange = exchange_of(key)
            depth = 1 if exchange.asked.expect else self._visit.depth
            if pending and not (self._visit.burst and index - self._answered < depth):
                await self._put(pending)
                pending = b""
            while index - self._answered >= depth:
                await self._changed.wait()
            if self._over:
                return
            head, body = request_parts(exchange)
            if exchange.asked.expect:
                await self._put(pending + head)
                pending = b""
                await self._await_continue(index)
                if self._answered > index:
                    continue  # answered without the body; the connection ends, or goes on
                await self._put(body)
            else:
                pending += head + body
        await self._put(pending)
        if self._visit.half_closes:
            await self._stream.send_eof()

    async def _await_continue(self, index: int) -> None:
        with trio.move_on_after(CONTINUE):
            while self._answered <= index and not self._reader.may_continue:
                await self._changed.wait()

    async def _put(self, data: bytes) -> None:
        """Send bytes as the visit wants it, and leave where it wants that."""
        limit = self._visit.leaves_sent
        leaves = limit is not None and self._sent + len(data) >= limit
        if limit is not None and leaves:
            data = data[: limit - self._sent]
        size = self._visit.piece or max(1, len(data))
        async with self._sending:
            for at in range(0, len(data), size):
                await self._stream.send_all(data[at : at + size])
        self._sent += len(data)
        if leaves:
            raise _LeftError

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _note(self, findings: Findings, key: str, text: str) -> None:
        exchange = exchange_of(key)
        head, body = request_parts(exchange)
        findings.wrong.append(
            f"{key}: {text}\n  plan: {exchange}\n  visit: {self._visit}\n"
            f"  sent: {self._sent} bytes of the visit; of this: {head!r} + {len(body)} bytes\n"
            f"  received last: {bytes(self._reader.received[-600:])!r}"
            f"{self._reader.unread[:200]!r} {self._reader.end}"
        )


def _is_last(exchange: Exchange, response: Response | None) -> bool:
    """Whether nothing can follow on its connection."""
    if response is None or response.cut or exchange.asked.upgrade:
        return True
    return "close" in (response.header("connection") or "").lower()


async def run_clients(orders: Orders) -> Findings:
    """Let all visitors visit, for their time."""
    findings = Findings()
    end = trio.current_time() + orders.seconds

    async def visitor(number: int) -> None:
        first = orders.first + orders.step * number
        plan = visits(orders.seed, orders.flavour, first, orders.step * orders.visitors)
        for count, visit in enumerate(plan):
            if trio.current_time() >= end:
                return
            stream = await _connect(orders.port, tiny=visit.tiny_buffers)
            if stream is None:
                findings.refused += 1
            else:
                await Visitor(visit, stream, orders).pay(findings)
            await trio.sleep(orders.pause * ((count * 7 + number) % 10) / 10)

    async with trio.open_nursery() as nursery:
        for number in range(orders.visitors):
            nursery.start_soon(visitor, number)
    if findings.refused and Circumstance.DRAIN not in orders.circumstances:
        findings.wrong.append(f"{findings.refused} connections were refused")
    return findings


async def _connect(port: int, *, tiny: bool) -> trio.SocketStream | None:
    sock = trio.socket.socket()
    if tiny:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
    try:
        await sock.connect(("127.0.0.1", port))
    except OSError:
        sock.close()
        return None
    return trio.SocketStream(sock)


def main() -> None:
    given = json.loads(sys.argv[1])
    given["flavour"] = Flavour(given["flavour"])
    given["circumstances"] = tuple(map(Circumstance, given["circumstances"]))
    print(json.dumps(asdict(trio.run(run_clients, Orders(**given)))))


if __name__ == "__main__":
    main()
