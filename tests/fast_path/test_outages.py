"""Clients that leave while their request waits for the end of an outage, on either path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks, open_balancer, states
from tests.support.client import open_client, request
from tests.support.paths import both_paths
from tests.support.rig import get, post
from trio_lb.errors import End
from trio_lb.observe.access_log import AccessLog

if TYPE_CHECKING:
    from trio_lb.observe.record import Record

LONG = 60.0  # how long requests wait, far longer than it takes to notice who has left

#: Seconds until it is noticed, at most. A closed socket is told from a half-closed one by asking.
NOTICED = {"reset": 0.3, "close": 1.1}


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """What is in the access log."""
    written: list[Record] = []
    monkeypatch.setattr(AccessLog, "record", lambda _, record: written.append(record))
    return written


@pytest.mark.parametrize("sent", [get(), post(b"x")], ids=["get", "post"])
@pytest.mark.parametrize("way", NOTICED)
@pytest.mark.parametrize("known", [False, True], ids=["first-to-find-it", "known"])
@both_paths
async def test_a_client_that_leaves_during_an_outage(
    fast_path: bool,
    known: bool,
    way: str,
    sent: bytes,
    records: list[Record],
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its permits are free, nothing of it reaches a server, and the log says who has left."""
    async with (
        open_backend(besides_checks(scripts.answer(b"ok"))) as server,
        open_balancer(
            {"url": server.url, "max_connections": 1},
            fast_path=fast_path,
            timeouts={"connect": LONG, "client_head": LONG},
            limits={"clients": 1},
            access_log="/dev/null",
        ) as balancer,
    ):
        outage = balancer._service._proxy.outage
        await server.kill()
        if known:
            with trio.fail_after(60):
                while states(balancer) != ["dead"]:  # noqa: ASYNC110
                    await trio.sleep(0.1)
        async with open_client(balancer.addresses[0]) as client:
            await client.send(sent)
            with trio.fail_after(1):
                while not outage._waiting:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            await trio.sleep(3)
            assert outage._waiting == 1
            assert balancer.statistics().total_active == 0
            if way == "reset":
                client.reset()
            else:
                client.stream.socket.close()
            with trio.fail_after(NOTICED[way]):
                while balancer.statistics().client_connections:  # noqa: ASYNC110
                    await trio.sleep(0.01)
        assert outage._waiting == 0
        [record] = records
        assert (record.ended, record.status) == (End.CLIENT_GONE, 499)
        assert [attempt.outcome for attempt in record.attempts] == (
            [] if known else ["connect: Connection refused"]
        )
        await server.start()
        response = await request(balancer.addresses[0])
        assert (response.status, response.body) == (200, b"ok")
        assert len(asked(server)) == 1
