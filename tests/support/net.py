"""Sockets for the other helpers: free ports, listening, dialling, resets, a black hole."""

from __future__ import annotations

import os
import random
import socket
import struct
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle, islice
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Below the range from which Linux takes ports for outgoing connections, so that a stopped
#: server's port isn't taken, and a connection to it can't connect to itself.
PORTS = range(15_000, 32_000)

#: Those of this process, of several that run tests at the same time.
_OURS = list(PORTS[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8 :: 8])

#: Not by the generator that tests (and Hypothesis) seed: that would give the same order again.
random.SystemRandom().shuffle(_OURS)

#: One after the other, so that one that was given out does not come again soon.
_NEXT = cycle(_OURS)


class Socket(Protocol):
    """What is done with the socket of a `ByteStream`."""

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None: ...

    def close(self) -> None: ...


class ByteStream(Protocol):
    """A `trio.SocketStream`, or a stand-in."""

    @property
    def socket(self) -> Socket: ...

    async def send_all(self, data: bytes) -> None: ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes: ...

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None: ...


def free_port(host: str = "127.0.0.1") -> int:
    """Returns a TCP port of `host` that nobody uses now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in islice(_NEXT, len(_OURS)):
        with socket.socket(family, socket.SOCK_STREAM) as probe, suppress(OSError):
            probe.bind((host, port))
            return port
    raise RuntimeError(f"no free port at {host}")


def listen_tcp(host: str, port: int) -> trio.socket.SocketType:
    """Returns a socket that listens on `host`:`port`; the port may have been in use just before."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _listen(socket.socket(family, socket.SOCK_STREAM), (host, port))


def listen_unix(path: Path) -> trio.socket.SocketType:
    """Returns a socket that listens on `path`, which it takes over from an ended server."""
    path.unlink(missing_ok=True)
    return _listen(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), os.fspath(path))


def _listen(sock: socket.socket, address: tuple[str, int] | str) -> trio.socket.SocketType:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(1024)
    except OSError:
        sock.close()
        raise
    return trio.socket.from_stdlib_socket(sock)


async def dial(url: str, source: str | None = None) -> trio.SocketStream:
    """Connects to `http://host:port` or `unix:/path`, from the address `source` if it is given."""
    if url.startswith("unix:"):
        return await trio.open_unix_socket(url.removeprefix("unix:"))
    parts = urlsplit(url)
    return await trio.open_tcp_stream(parts.hostname or "", parts.port or 80, local_address=source)


def http_url(host: str, port: int) -> str:
    """Returns the URL of an HTTP server, with brackets round an IPv6 address."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def reset_on_close(stream: ByteStream) -> None:
    """Makes closing `stream` send a RST and throw away what was not sent (SO_LINGER of 0)."""
    with suppress(OSError):  # closed already, or the peer has reset it
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def black_hole() -> Iterator[str]:
    """Gives the URL of a port to which connecting never ends: SYNs are dropped (Linux).

    It listens without accepting, and its queue is filled.
    """
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", free_port()))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield http_url(*address)
