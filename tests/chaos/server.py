"""The server of a chaos run: answers what the key of a request says, and logs what it was asked.

As a process of its own, so that it can be stopped and killed:
`python -m tests.chaos.server NUMBER PORT LOG`. A line of the log is `begin KEY` (a head was read),
`whole KEY DIGEST` (the request was read to its end), or `fault TEXT` (it was none).
"""

from __future__ import annotations

import hashlib
import os
import select
import socket
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import trio

from tests.chaos.messages import GARBAGE, UNASKED, answer_parts, answer_trailers, hint
from tests.chaos.plan import (
    KEY,
    UNANSWERED,
    Flaw,
    Framing,
    Start,
    digest_of_parts,
    exchange_of,
    passing,
)
from tests.support.backend import Backend, PeerGoneError
from tests.support.balancer import CHECK_PATH
from tests.support.scripts import last_chunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.plan import Exchange
    from tests.support.backend import Exchange as Served

#: Seconds between a right answer and the bytes or the end that follow it, at most.
MOMENT = 0.02
#: Bytes of a socket's buffers.
TINY = struct.pack("i", 2048)


class ChaosServer:
    """One of the servers; see `serve`.

    Args:
        number: which one it is, from 0.
        log: called with each line of its log.
    """

    def __init__(self, number: int, log: Callable[[str], None]) -> None:
        self.number = number
        self.log = log
        self.backend: Backend | None = None

    async def answer(self, served: Served) -> None:
        """Answers one request; the script of a `Backend`."""
        request = served.request
        if request.target == CHECK_PATH:
            await served.respond()
            return
        self._forget(served)
        try:
            exchange = exchange_of(request.header(KEY) or "")
        except ValueError:
            self.log(f"fault a request without a key: {request!r}")
            await served.reset()
            return
        self.log(f"begin {exchange.key}")
        _set_buffers(served, exchange)
        if exchange.asked.upgrade:
            await self._tunnel(served, exchange)
        elif exchange.answer.start is Start.AFTER:
            word = await self._read(served, exchange)
            await trio.sleep(exchange.answer.delay)
            await self._send(served, exchange, word, word)
        else:
            await self._answer_early(served, exchange)

    async def _read(self, served: Served, exchange: Exchange) -> str:
        """Reads a request to its end; returns the digest of it."""
        sha = hashlib.sha1()
        while data := await served.receive():
            sha.update(data)
        word = _digest(served, sha.hexdigest())
        self.log(f"whole {exchange.key} {word}")
        return word

    async def _answer_early(self, served: Served, exchange: Exchange) -> None:
        """Answers, or begins to, at the head of the request."""
        answer, word = exchange.answer, _digest(served, "")
        head, body = answer_parts(exchange, word, "")
        if answer.start is Start.SPLIT:
            half = exchange.body[: answer.size // 2]
            first = b"%x\r\n%b\r\n" % (len(half), half) if half else b""
            await served.send(_hints(exchange) + head + first)
            word = await self._read(served, exchange)
            rest = exchange.body[len(half) :]
            second = b"%x\r\n%b\r\n" % (len(rest), rest) if rest else b""
            last = last_chunk(answer_trailers(exchange, word))
            await self._pour(served, exchange, second + last)
            return
        await served.send(head + body)
        if answer.flaw_at(self.number) is Flaw.RESETS:
            await served.reset()
            return
        await served.connection.stream.send_eof()
        while True:  # until the peer leaves
            await served.connection.receive()

    async def _send(self, served: Served, exchange: Exchange, word: str, last: str) -> None:
        """Sends an answer to a request that was read, right or wrong."""
        answer = exchange.answer
        flaw = answer.flaw_at(self.number)
        head, body = answer_parts(exchange, word, last)
        if flaw in UNANSWERED:
            await self._fail(served, exchange, head)
            return
        if flaw is Flaw.CUT:
            # At least a byte is missing: of the content, or else of the framing behind it.
            body = body[: int(len(body) * answer.at)]
        unasked = UNASKED[int(answer.at * len(UNASKED))]
        if flaw is Flaw.EXTRA:
            body += unasked
        await self._pour(served, exchange, _hints(exchange) + head + body)
        if flaw is Flaw.CUT:
            await self._leave(served, exchange)
        elif flaw is Flaw.LATER:
            await trio.sleep(answer.at * MOMENT)
            if not _was_asked(served):
                await served.send(GARBAGE)
                await served.close()
        elif flaw is Flaw.CLOSES:
            await trio.sleep(answer.at * MOMENT if answer.at > 0.5 else 0)
            await served.close()
        elif answer.close or answer.framing is Framing.CLOSE:
            await served.close()

    async def _fail(self, served: Served, exchange: Exchange, head: bytes) -> None:
        """Does not answer."""
        answer = exchange.answer
        while answer.flaw is Flaw.HANG:  # until the peer leaves
            await served.connection.receive()
        cut = head[: int(len(head) * answer.at)]
        await served.send({Flaw.SILENT: b"", Flaw.GARBAGE: GARBAGE}.get(answer.flaw, cut))
        await self._leave(served, exchange)

    async def _tunnel(self, served: Served, exchange: Exchange) -> None:
        """Switches protocols, and sends back what comes, to its end."""
        word = await self._read(served, exchange)
        await trio.sleep(exchange.answer.delay)
        head, _ = answer_parts(exchange, word, "")
        if exchange.answer.flaw_at(self.number) in UNANSWERED:
            await self._fail(served, exchange, head)
            return
        await served.send(head + served.rest)
        with suppress(PeerGoneError):
            while True:
                await served.send(await served.connection.receive())
        await served.close()

    async def _pour(self, served: Served, exchange: Exchange, data: bytes) -> None:
        """Sends bytes in as many pieces as planned."""
        answer = exchange.answer
        size = max(1, -(-len(data) // answer.pieces))
        for at in range(0, len(data), size):
            await served.send(data[at : at + size])
            if answer.pause:
                await trio.sleep(answer.pause)

    async def _leave(self, served: Served, exchange: Exchange) -> None:
        await (served.reset() if exchange.answer.reset else served.close())

    def _forget(self, served: Served) -> None:
        """A run is long: what a `Backend` remembers of it is not needed."""
        assert self.backend is not None
        self.backend.requests.clear()
        self.backend.connections[:] = self.backend.open_connections
        served.connection.received.clear()
        served.connection.requests[:] = [served.request]
        for error in self.backend.protocol_errors:
            self.log(f"fault {error}")
        self.backend.protocol_errors.clear()


def _set_buffers(served: Served, exchange: Exchange) -> None:
    """Makes the buffers of a connection tiny where that is planned."""
    if exchange.answer.tiny_buffers:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            served.connection.stream.socket.setsockopt(socket.SOL_SOCKET, option, TINY)


def _hints(exchange: Exchange) -> bytes:
    return b"".join(hint(exchange, number) for number in range(exchange.answer.hints))


def _was_asked(served: Served) -> bool:
    """Whether another request has come meanwhile: bytes that are sent now would be its answer."""
    stream = cast("trio.SocketStream", served.connection.stream)
    return bool(select.select([stream.socket.fileno()], [], [], 0)[0])


def _digest(served: Served, body: str) -> str:
    request = served.request
    return digest_of_parts(
        request.method,
        request.target,
        request.header("host") or "",
        passing(tuple(request.headers)),
        body,
        passing(tuple(request.trailers)),
    )


async def serve(
    server: ChaosServer, port: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Runs a server at a port of 127.0.0.1 until cancelled."""
    async with trio.open_nursery() as nursery:
        server.backend = Backend(nursery, server.answer, "127.0.0.1", None, 3600)
        server.backend.port = port
        await server.backend.start()
        task_status.started()


def main() -> None:
    number, port, path = sys.argv[1:]
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    server = ChaosServer(int(number), lambda line: _write(log, line))
    trio.run(serve, server, int(port))


def _write(log: int, line: str) -> None:
    os.write(log, line.encode() + b"\n")


if __name__ == "__main__":
    main()
