"""What is called of Python in the middle of the fast path may fail: the exchange ends cleanly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import End, open_client
from tests.support.leaks import assert_even
from tests.support.rig import get, post
from tests.support.waiting import eventually
from trio_lb.net.dial import Dialler
from trio_lb.net.transport import SocketTransport
from trio_lb.observe.access_log import AccessLog

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


OK = scripts.answer(b"ok")


def broken(*args: Any) -> Any:
    raise RuntimeError("a fault")


async def test_of_the_access_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client has its answer, and the connection ends."""
    monkeypatch.setattr(AccessLog, "_due", broken)
    async with (
        open_backend(OK) as server,
        open_balancer(server.url, health_check="off", access_log=str(tmp_path / "log")) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        assert (await client.read_response()).body == b"ok"
        assert await client.read_until_close() == (b"", End.EOF)
        await eventually(lambda: not balancer.statistics().client_connections)
        assert_even(balancer)
    assert [each.getMessage() for each in caplog.records] == ["recording a request failed"]
    caplog.clear()


async def test_of_dialling(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is cut, and the slot is free."""
    monkeypatch.setattr(Dialler, "beginning", lambda *_: broken)
    async with (
        open_backend(OK) as server,
        open_balancer(server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(get())
        assert (await client.read_until_close())[0] == b""
        await eventually(lambda: not balancer.statistics().client_connections)
        assert balancer.statistics().total_active == 0
        assert_even(balancer)
    assert [each.getMessage() for each in caplog.records] == ["connecting to a server failed"]
    caplog.clear()


async def test_of_closing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server's connection whose closing fails: the exchange goes on as if it had not."""
    close = SocketTransport.close

    def failing(self: SocketTransport) -> None:
        close(self)
        raise RuntimeError("a fault")

    async with (
        open_backend(scripts.closing(b"ok")) as server,
        open_balancer(server.url, health_check="off") as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        for _ in range(2):
            with monkeypatch.context() as patch:
                await client.send(post(b"x"))
                patch.setattr(SocketTransport, "close", failing)
                assert (await client.read_response()).body == b"ok"
        assert balancer.statistics().total_active == 0
    lines = {each.getMessage() for each in caplog.records}
    assert lines == {"closing the connection to a server failed"}
    caplog.clear()
