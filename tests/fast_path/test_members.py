"""Other servers between two requests, on both paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts, tunnels
from tests.support.backend import open_backend
from tests.support.balancer import open_balancer
from tests.support.client import open_client
from tests.support.rig import get
from trio_lb.pool import Members

if TYPE_CHECKING:
    import trio_lb
    from trio_lb.runtime.service import Service

pytestmark = pytest.mark.parametrize("fast_path", ["on", "off"])
GET = get()


def change(balancer: trio_lb.LoadBalancer, *indices: int) -> Service:
    """From now on, have those servers of the profile and no others."""
    service = balancer._service
    (pool,) = service.plan.pools
    members = Members([pool.servers[index] for index in indices], indices)
    service.set_members(members, pool.algorithm)
    return service


async def test_who_stays_keeps_its_connection_and_who_goes_does_not(fast_path: str) -> None:
    async with (
        open_backend(scripts.answer(b"one")) as one,
        open_backend(scripts.answer(b"two")) as two,
        open_balancer(one.url, two.url, health_check="off", fast_path=fast_path) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):

        async def ask(count: int) -> list[bytes]:
            bodies = []
            for _ in range(count):
                await client.send(GET)
                bodies.append((await client.read_response()).body)
            return bodies

        assert await ask(4) == [b"one", b"two"] * 2
        assert len(balancer._service._upstreams) == 2
        change(balancer, 1)
        assert len(balancer._service._upstreams) == 1
        assert await ask(3) == [b"two"] * 3
        change(balancer, 1, 0)
        assert sorted(await ask(4)) == [b"one", b"one", b"two", b"two"]
        assert (len(one.connections), len(two.connections)) == (2, 1)


async def test_a_request_is_finished_by_the_server_that_has_it(fast_path: str) -> None:
    go_on = trio.Event()

    async def wait(exchange: object) -> None:
        await go_on.wait()
        await scripts.answer(b"one")(exchange)  # type: ignore[arg-type]

    async with (
        open_backend(wait) as one,
        open_backend(scripts.answer(b"two")) as two,
        open_balancer(one.url, two.url, health_check="off", fast_path=fast_path) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(GET)
        await one.wait_until(lambda backend: bool(backend.requests))
        service = change(balancer, 1)
        assert service.servers.table.connections(0) == 1
        go_on.set()
        assert (await client.read_response()).body == b"one"
        with trio.fail_after(5):
            while service.servers.table.connections(0):
                await trio.lowlevel.checkpoint()
        assert len(service._upstreams) == 0  # its connection is not kept
        await client.send(GET)
        assert (await client.read_response()).body == b"two"


async def test_who_breaks_a_request_off_is_not_tried_again_as_another(fast_path: str) -> None:
    async def gone(exchange: object) -> None:
        change(balancer, 1)
        await scripts.raw(b"", reset=True)(exchange)  # type: ignore[arg-type]

    async with (
        open_backend(gone) as one,
        open_backend(scripts.answer(b"two")) as two,
        open_balancer(one.url, two.url, health_check="off", fast_path=fast_path) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        await client.send(GET)
        assert (await client.read_response()).body == b"two"
        assert [each.name for each in balancer.statistics().servers] == [two.url]


async def test_a_tunnel_goes_on(fast_path: str) -> None:
    async with (
        open_backend(scripts.switching(scripts.mirror)) as one,
        open_backend(scripts.answer(b"two")) as two,
        open_balancer(one.url, two.url, health_check="off", fast_path=fast_path) as balancer,
        open_client(balancer.addresses[0]) as client,
    ):
        tunnel = await tunnels.enter(client)
        change(balancer, 1)
        await tunnel.send(b"ping")
        assert await tunnel.receive(4) == b"ping"
