"""A long run of mixed traffic through the balancer, to see whether it grows.

Run with `python -m benchmarks.soak`: the balancer is a process of its own; clients and two servers
are in this one. A tenth of the way is warming up; from then on its memory should stay as it is.

  python -m benchmarks.soak                       # a million requests
  python -m benchmarks.soak --requests 50000
"""

from __future__ import annotations

import argparse
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = 16

_GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"
_POST = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
_CHUNKED = b"POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n"


class Kind(NamedTuple):
    """A kind of request: how often of 100, its bytes, the status of its answer (0: cut)."""

    weight: int
    message: bytes
    status: int | None


KINDS = {
    "get": Kind(50, _GET % b"small", 200),
    "post": Kind(15, _POST % (b"small", 1024, b"x" * 1024), 200),
    "chunked upload": Kind(10, _CHUNKED % (b"5\r\nhello\r\n" * 2), 200),
    "chunked answer": Kind(10, _GET % b"chunked", 200),
    "server's error": Kind(5, _GET % b"error", 500),
    "cut answer": Kind(2, _GET % b"cut", 0),
    "no answer": Kind(2, _POST % (b"none", 0, b""), 502),
    "malformed": Kind(2, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "aborted": Kind(4, _GET % b"large", None),
}

_ANSWERS = {
    b"/small": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"/error": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nbad",
    b"/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    b"/none": b"",
    b"/large": b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000,
}
_CLOSING = {b"/cut", b"/none"}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class _Peer:
    """A connection from which whole messages are read; they are trusted to be well-formed."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._unread = b""

    async def read_message(self) -> bytes | None:
        """Head and body of the next message; None if the connection ends before its end."""
        data = self._unread
        while True:
            head, found, rest = data.partition(b"\r\n\r\n")
            if found:
                length = _LENGTH.search(head)
                size = int(length[1]) if length else 0
                if b"Encoding: chunked" in head:
                    end = rest.find(b"\r\n0\r\n\r\n")
                    size = end + 7 if end >= 0 else len(rest) + 1
                if len(rest) >= size:
                    self._unread = rest[size:]
                    return head
            try:
                more = await self.stream.receive_some(262_144)
            except trio.BrokenResourceError:
                return None
            if not more:
                return None
            data += more


async def serve(listener: trio.SocketListener) -> None:
    """A server that does what the paths say."""

    async def handle(stream: trio.SocketStream) -> None:
        peer = _Peer(stream)
        try:
            while (head := await peer.read_message()) is not None:
                path = head.split(b" ", 2)[1]
                await stream.send_all(_ANSWERS.get(path, _ANSWERS[b"/small"]))
                if path in _CLOSING:
                    break
        except trio.BrokenResourceError:
            pass
        finally:
            stream.socket.close()

    await trio.serve_listeners(handle, [listener])


async def run_clients(
    port: int, requests: int, rng: random.Random, progress: Callable[[int], None]
) -> Counter[str]:
    """Send so many requests; which of them (by kind) were answered otherwise than they should be.

    Args:
        port: of the balancer, on 127.0.0.1.
        requests: how many.
        rng: decides what comes next.
        progress: told after each request how many there were.
    """
    wrong: Counter[str] = Counter()
    done = 0
    names, weights = list(KINDS), [kind.weight for kind in KINDS.values()]

    async def client() -> None:
        nonlocal done
        peer: _Peer | None = None
        while done < requests:
            done += 1
            progress(done)
            (name,) = rng.choices(names, weights)
            kind = KINDS[name]
            if peer is None:
                peer = _Peer(await trio.open_tcp_stream("127.0.0.1", port))
            await peer.stream.send_all(kind.message)
            if kind.status is None:
                await trio.sleep(rng.choice([0, 0.001]))
                _reset(peer.stream)
                peer = None
                continue
            head = await peer.read_message()
            status = 0 if head is None else int(head.split(b" ", 2)[1])
            if status != kind.status:
                wrong[f"{name}: {status}"] += 1
            if head is None or b"connection: close" in head.lower():
                peer.stream.socket.close()
                peer = None
        if peer is not None:
            peer.stream.socket.close()

    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(client)
    return wrong


def _reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def usage(pid: int) -> tuple[int, int]:
    """Resident memory in KiB and open descriptors of a process (Linux)."""
    status = Path("/proc", str(pid), "status").read_text()
    rss = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert rss is not None
    return int(rss[1]), len(list(Path("/proc", str(pid), "fd").iterdir()))


async def soak(requests: int) -> bool:
    """Run it, and print memory and descriptors on the way; False if answers were wrong."""
    rows: list[tuple[int, int, int]] = []
    async with trio.open_nursery() as nursery:
        listeners = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(2)]
        for listener in listeners:
            nursery.start_soon(serve, listener)
        ports = [listener.socket.getsockname()[1] for listener in listeners]
        with tempfile.TemporaryDirectory() as directory:
            command = [sys.executable, "-m", "trio_lb", "start", "-p", _profile(directory, ports)]
            process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE)
            assert process.stderr is not None
            try:
                line = b""
                while (found := re.search(rb"listening on http://127.0.0.1:(\d+)", line)) is None:
                    line += await process.stderr.receive_some()
                start = time.perf_counter()

                def progress(done: int) -> None:
                    if done % (requests // 10) == 0:
                        rows.append((done, *usage(process.pid)))
                        print(f"{done:>10} requests {rows[-1][1]:>8} KiB {rows[-1][2]:>4} fds",
                              f"{time.perf_counter() - start:>6.0f} s", flush=True)  # fmt: skip

                wrong = await run_clients(int(found[1]), requests, random.Random(27), progress)
                await trio.sleep(6)  # idle connections to the servers are closed by now
                rss, descriptors = usage(process.pid)
            finally:
                process.terminate()
                await process.wait()
        nursery.cancel_scope.cancel()
    warm = rows[0][1]
    print(f"       idle           {rss:>8} KiB {descriptors:>4} fds")
    print(f"growth from warm to the end: {rss - warm} KiB ({(rss - warm) / warm:.1%})")
    print("wrong answers:", dict(wrong) or "none", "- exit code", process.returncode)
    return not wrong and process.returncode == 0


def _profile(directory: str, ports: list[int]) -> str:
    servers = "".join(f"\n  - http://127.0.0.1:{port}" for port in ports)
    path = Path(directory, "soak.yaml")
    path.write_text(f"listen: http://127.0.0.1:0\nservers:{servers}\n")
    return str(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="A long run of mixed traffic.")
    parser.add_argument("--requests", type=int, default=1_000_000)
    sys.exit(not trio.run(soak, parser.parse_args().requests))


if __name__ == "__main__":
    main()
