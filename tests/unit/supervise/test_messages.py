"""What a supervisor and its workers say to each other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_lb.config import compile_plan, parse_profile
from trio_lb.plan import Address, Algorithm, ServerPlan
from trio_lb.supervise.descriptors import send_descriptors
from trio_lb.supervise.messages import (
    MAX_BYTES,
    Accept,
    BadMessage,
    CoverFor,
    Drain,
    InheritedSocket,
    MembersSet,
    Ready,
    SetMembers,
    Start,
    ToSupervisor,
    ToWorker,
    control_of_supervisor,
    control_of_worker,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

PROFILE = """
listen: [http://127.0.0.1:8000, unix:/run/in.sock]
servers:
  - {url: "http://10.0.1.1:8000", name: web, weight: 3, max_connections: 7}
  - http://app.internal:8000/path
trusted_proxies: [10.0.0.0/8, "fd00::/8"]
health_check: {path: /health, interval: 2s}
limits: {body: off, clients: 500}
access_log: /var/log/access.log
"""
START = Start(
    plan=compile_plan(parse_profile(PROFILE)),
    table=0,
    row=3,
    slots={"main": (4, 0)},
    number=1,
    listen=[
        [InheritedSocket(1, Address(host="*", port=80), True)],
        [InheritedSocket(2, Address(unix="/run/x y.sock"))],
    ],
    log_levels=[(None, "DEBUG"), ("trio_lb.proxy", "ERROR")],
)
MEMBERS = SetMembers(
    pool="main",
    version=2,
    algorithm=Algorithm.LEAST_CONNECTIONS,
    servers=(
        ServerPlan(address=Address(host="127.0.0.1", port=1), weight=3, send_proxy="v2", name="é"),
        ServerPlan(
            address=Address(unix="/run/app.sock", written="unix:${SOCKET}"), name="unix:${SOCKET}"
        ),
    ),
    slots=(5, 1),
)
TO_WORKER: list[ToWorker] = [START, Accept(), CoverFor((1, 2)), MEMBERS, Drain()]
TO_SUPERVISOR: list[ToSupervisor] = [Ready(), MembersSet("main", 2)]


class Pieces(trio.abc.Stream):
    """A stream that comes in just these pieces, then ends or breaks; what is sent is kept."""

    def __init__(self, *pieces: bytes, breaks: bool = False) -> None:
        self.sent = bytearray()
        self._pieces = list(pieces)
        self._breaks = breaks

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._pieces and self._breaks:
            raise trio.BrokenResourceError
        return self._pieces.pop(0) if self._pieces else b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    async def wait_send_all_might_not_block(self) -> None: ...

    async def aclose(self) -> None: ...


async def sent_to_worker(messages: Iterable[ToWorker]) -> bytes:
    stream = Pieces()
    control = control_of_worker(stream)
    for message in messages:
        await control.send(message)
    return bytes(stream.sent)


@given(st.sets(st.integers(1, 600)))
async def test_messages_come_as_they_were_sent_however_they_are_cut(cuts: set[int]) -> None:
    sent = await sent_to_worker(TO_WORKER)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(sent)), len(sent)]
    control = control_of_supervisor(Pieces(*(sent[start:end] for start, end in pairwise(bounds))))
    assert [await control.receive() for _ in TO_WORKER] == TO_WORKER
    assert await control.receive() is None


async def test_names_and_what_is_shown_of_an_address_survive() -> None:
    control = control_of_supervisor(Pieces(await sent_to_worker([MEMBERS])))
    received = await control.receive()
    assert isinstance(received, SetMembers)
    assert [server.name for server in received.servers] == ["é", "unix:${SOCKET}"]
    assert str(received.servers[1].address) == "unix:${SOCKET}"
    assert received.servers[1].address.url == "unix:/run/app.sock"


async def test_a_worker_is_heard() -> None:
    stream = Pieces()
    for message in TO_SUPERVISOR:
        await control_of_supervisor(stream).send(message)
    control = control_of_worker(Pieces(bytes(stream.sent)))
    assert [await control.receive() for _ in range(3)] == [*TO_SUPERVISOR, None]


@pytest.mark.parametrize("breaks", [True, False])
@pytest.mark.parametrize("size", [2, 10])
async def test_half_a_message_is_the_end(breaks: bool, size: int) -> None:
    sent = await sent_to_worker([CoverFor((1, 2))])
    control = control_of_supervisor(Pieces(sent[:size], breaks=breaks))
    assert await control.receive() is None


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


MALFORMED = {
    "none": framed(b""),
    "no msgpack": framed(b"\xc1"),
    "no map": framed(msgspec.msgpack.encode([1])),
    "no type": framed(msgspec.msgpack.encode({"workers": [1]})),
    "unknown": framed(msgspec.msgpack.encode({"type": "nothing"})),
    "for the other side": framed(msgspec.msgpack.encode(Ready())),
    "not whole": framed(msgspec.msgpack.encode({"type": "cover_for"})),
    "another type": framed(msgspec.msgpack.encode({"type": "cover_for", "workers": ["1"]})),
    "something behind it": framed(msgspec.msgpack.encode(Drain()) + b"\0"),
    "endless": (MAX_BYTES + 1).to_bytes(4),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_message_is_told(data: bytes) -> None:
    with pytest.raises(BadMessage):
        await control_of_supervisor(Pieces(data)).receive()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (MALFORMED["unknown"], "Invalid value 'nothing'"),
        (framed(msgspec.msgpack.encode(Drain())), "expected Start, got Drain"),
    ],
)
def test_a_worker_that_can_not_understand_says_so_and_ends(data: bytes, said: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, open(os.devnull) as file:
        send_descriptors(ours, [file.fileno()])
        ours.sendall(data)
        worker = subprocess.run(
            [sys.executable, "-m", "trio_lb.supervise.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert worker.returncode == 1
    (line,) = worker.stderr.splitlines()
    assert "the supervisor sent what can't be understood: " in line
    assert said in line
