"""No memory for a handover: nothing is handed over, and the exchange ends cleanly all the same.

The interpreter fails the very next allocation, which is that of the Handover.
"""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client, request
from tests.support.leaks import assert_even
from tests.support.rig import get, post
from tests.support.waiting import eventually
from trio_lb.net.dial import Dialler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


testcapi = pytest.importorskip("_testcapi", reason="this interpreter can't be out of memory")


@pytest.fixture(autouse=True)
def _enough_memory() -> Iterator[None]:
    yield
    testcapi.remove_mem_hooks()


def fail_next_allocation() -> None:
    """And no other one. To be the last thing that is done in Python."""
    testcapi.set_nomemory(0, 1)


class FullSocket:
    """A transport that takes nothing of a request, or that could not be had in the first place.

    The last that is asked of it before the request is handed over leaves no memory for that.
    """

    born = 0.0
    wire = None

    def __init__(self, *, connected: bool) -> None:
        self._socket, self._peer = socket.socketpair()
        self._number = self._socket.fileno()
        self._connected = connected
        self.closed = False
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self._socket.send(bytes(65536))

    def fileno(self) -> int:
        fail_next_allocation()
        return self._number

    def close(self) -> None:
        self.closed = True
        self._socket.close()
        self._peer.close()
        if not self._connected:
            fail_next_allocation()


def at_first(transport: FullSocket, code: int) -> Callable[..., Callable[[], Any]]:
    """Another `beginning`: it gives this transport first, and allocates nothing for that."""
    first = iter([(transport, code)])
    beginning = Dialler.beginning

    def begin(*arguments: Any) -> Callable[[], Any]:
        dial = beginning(*arguments)
        return lambda: next(first, None) or dial()

    return begin


@pytest.mark.parametrize("sent", [get(), post(b"x")], ids=["get", "post"])
@pytest.mark.parametrize("connected", [False, True], ids=["no-connection", "connection"])
async def test_of_a_handover(
    connected: bool,
    sent: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client is cut, its server's connection is closed, and the slot is free."""
    transport = FullSocket(connected=connected)
    code = 0 if connected else errno.EAGAIN
    monkeypatch.setattr(Dialler, "beginning", at_first(transport, code))
    async with (
        open_backend(scripts.answer(b"ok")) as server,
        open_balancer(
            {"url": server.url, "max_connections": 1}, health_check="off", limits={"clients": 1}
        ) as balancer,
    ):
        async with open_client(balancer.addresses[0]) as client:
            await client.send(sent)
            assert (await client.read_until_close())[0] == b""
        await eventually(lambda: not balancer.statistics().client_connections)
        assert transport.closed
        assert_even(balancer)
        assert not server.requests
        assert (await request(balancer.addresses[0])).body == b"ok"
    [record] = caplog.records
    assert record.getMessage() == "handing a request over failed"
    assert record.exc_info is not None
    assert record.exc_info[0] is MemoryError
    caplog.clear()
