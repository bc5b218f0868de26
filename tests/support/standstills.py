"""Connections in every state, for what happens while the event loop stands still."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import trio

from tests.support import scripts
from tests.support.rig import get, post, post_chunks

if TYPE_CHECKING:
    from tests.support.backend import Backend, Exchange, Script
    from tests.support.client import Client
    from tests.support.net import ByteStream


def write(stream: ByteStream, data: bytes) -> None:
    """Sends at once: no other task has a turn before the loop stands still."""
    assert os.write(stream.socket.fileno(), data) == len(data)  # type: ignore[attr-defined]


def stops_after(data: bytes) -> Script:
    """Reads the request, answers with a part of a response, and leaves the rest to the test."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(data)
        await trio.sleep_forever()

    return script


@dataclass
class State:
    """A state of a connection: what was sent, by whom, and what is still to come.

    Attributes:
        sent: by the client, before.
        rest: what the client sends then.
        script: what the server does.
        answer: what the server sends then.
        settings: of the profile.
    """

    sent: bytes = b""
    rest: bytes = b""
    script: Script = field(default_factory=scripts.answer)
    answer: bytes = b""
    settings: dict[str, Any] = field(default_factory=dict)

    def come(self, client: Client, backend: Backend, target: str = "/") -> None:
        """Sends what is still to come, at once; `target` is that of its request."""
        if self.rest:
            write(client.stream, self.rest)
        for connection in backend.connections if self.answer else ():
            if connection.requests[-1].target == target:
                write(connection.stream, self.answer)

    def asking_for(self, target: str) -> State:
        """The same with another target than `/`."""
        old, new = b" / ", b" %b " % target.encode()
        return replace(self, sent=self.sent.replace(old, new), rest=self.rest.replace(old, new))


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcdefghij"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 2000010\r\n\r\n" + bytes(2_000_000) + b"abcdefghij"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nabcdefghij\r\n0\r\n\r\n"
LISTEN = {"listen": [{"url": "http://127.0.0.1:0", "proxy_protocol": True}]}
PROXY_LINE = b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 80\r\n"


def halved(data: bytes, at: int, **more: Any) -> State:
    """A client that has sent so much of its request."""
    return State(data[:at], data[at:], **more)


def answering(response: bytes, at: int) -> State:
    """A server that has sent so much of its response."""
    return State(get(), script=stops_after(response[:at]), answer=response[at:])


STATES = {
    "new": State(rest=get()),
    "head": halved(get(), 20),
    "small body": halved(post(b"x" * 100), -30),
    "upload": halved(post(b"x" * 150_000), 100_000),
    "chunked upload": halved(post_chunks(b"x" * 150_000), 100_000),
    "small chunks": halved(post_chunks(b"x" * 50, b"y" * 50, method="PUT"), -70),
    "waiting": answering(LENGTH, 0),
    "head of the response": answering(LENGTH, 20),
    "relaying": answering(LENGTH, -4),
    "relaying chunks": answering(CHUNKED, -12),
    "relaying through a pipe": answering(LARGE, -4),
    "proxy header": halved(
        PROXY_LINE + get(), 20, settings={**LISTEN, "trusted_proxies": ["127.0.0.1"]}
    ),
}
