"""Cancellation at every point at which serving a client can be cancelled leaves nothing behind.

An exchange is run again and again. Each time it is cancelled one step of its tasks later, until it
ends before its cancellation: so every await on its way has been the one that was cancelled.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio

from tests.support import scripts
from tests.support.client import Client, End
from tests.support.memory import MemoryStream
from tests.support.rig import Rig, get, open_rig, post
from tests.support.tunnels import OFFER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from tests.support.backend import Exchange, Script

CHUNKED = "Transfer-Encoding: chunked"
LAST = "Connection: close"

#: Small buffers: sending waits as often as receiving.
SMALL = 2000


class CancelAfter(trio.abc.Instrument):
    """Cancels a scope after so many steps of a task and its descendants."""

    def __init__(self, steps: int, scope: trio.CancelScope) -> None:
        self.left = steps
        self._scope = scope
        self._root: trio.lowlevel.Task | None = None

    def follow(self, task: trio.lowlevel.Task) -> None:
        """Counts the steps of this task and of those that it starts."""
        self._root = task

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._root is not None and self._descends(task):
            self.left -= 1
            if self.left == 0:
                self._scope.cancel()

    def _descends(self, task: trio.lowlevel.Task) -> bool:
        ancestor: trio.lowlevel.Task | None = task
        while ancestor is not None and ancestor is not self._root:
            nursery = ancestor.parent_nursery
            ancestor = None if nursery is None else nursery.parent_task
        return ancestor is not None


class Scenario(NamedTuple):
    """What the servers do and what the client does."""

    scripts: list[Script]
    drive: Callable[[Client], Awaitable[None]]
    refuse_first: bool = False


async def two_gets(client: Client) -> None:
    """A fresh connection to the server, then a reused one."""
    await client.send(get())
    assert (await client.read_response()).body in (b"whole", b"")
    await client.send(get("/", LAST))
    await client.read_response()


async def upload(client: Client) -> None:
    """A chunked body in pieces, with trailers."""
    await client.send(get("/", CHUNKED, LAST, method="POST"))
    for _ in range(4):
        await client.send(scripts.chunk(bytes(1500)))
    await client.send(scripts.last_chunk([("X-Sum", "1")]))
    await client.read_response()


async def small_upload(client: Client) -> None:
    """A body that is read before a server is chosen, in two pieces."""
    data = post(b"x" * 100, LAST, method="PUT")
    await client.send(data[:-50])
    await trio.sleep(1)
    await client.send(data[-50:])
    await client.read_response()


async def download(client: Client) -> None:
    """A response that is larger than all buffers, read slowly."""
    await client.send(get("/", LAST))
    received = b"begin"
    while received:
        await trio.sleep(0.1)
        received = await client.stream.receive_some(1000)


async def get_once(client: Client) -> None:
    """One request."""
    await client.send(get("/", LAST))
    await client.read_response()


async def get_of_http_1_0(client: Client) -> None:
    """One request whose response ends by closing: never in good order before its end."""
    await client.send(get(version="1.0"))
    data, end = await client.read_until_close()
    assert end == "cut by RST" or not data or data.endswith(b"\r\n\r\n" + b"whole" * 1000)


async def leave_while_the_server_thinks(client: Client) -> None:
    """A request, and then no interest in its answer."""
    await client.send(get())
    await trio.sleep(2)
    await client.stream.aclose()


async def post_too_much(client: Client) -> None:
    """An upload that is answered early; the client sends on for a while."""
    await client.send(get("/", "Content-Length: 1000000", method="POST"))
    for _ in range(5):
        await client.send(bytes(1500))
        await trio.sleep(0.1)
    await client.read_response()


async def expect_continue(client: Client) -> None:
    """A body that waits for 100 (Continue)."""
    expect = "Expect: 100-continue"
    await client.send(get("/", "Content-Length: 5", expect, LAST, method="POST"))
    if await client.stream.receive_some():
        await client.send(b"hello")
        await client.read_response()


async def talk_in_a_tunnel(client: Client) -> None:
    """An offer, more bytes than fit into the buffers, and an end in good order."""
    data = bytes(3 * SMALL)

    async def send() -> None:
        with suppress(trio.BrokenResourceError):
            await client.send(OFFER + b"early" + data)
            await client.finish()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        got, end = await client.read_until_close()
    _, granted, bytes_behind = got.partition(b"\r\n\r\n")
    assert not granted or end is End.RESET or bytes_behind == b"behind" + b"early" + data


async def reset_at_once(exchange: Exchange) -> None:
    """A server that breaks a tunnel off as soon as there is one."""
    await exchange.reset()


async def make_an_offer(client: Client) -> None:
    """An offer that is not granted."""
    await client.send(OFFER)
    await client.read_response()
    await client.stream.aclose()


async def break_late(exchange: Exchange) -> None:
    """Breaks before an answer, a second after the request."""
    await exchange.read_body()
    await trio.sleep(1)
    await exchange.reset()


WHOLE = scripts.answer(b"whole")

SCENARIOS = {
    "two gets": Scenario([WHOLE], two_gets),
    "upload": Scenario([WHOLE], upload),
    "echo": Scenario([scripts.echo()], upload),
    "small upload": Scenario([WHOLE], small_upload),
    "download": Scenario([scripts.bulk(20_000, bytes(3000))], download),
    "chunked download": Scenario([scripts.chunked([bytes(1500)] * 10, [("A", "b")])], download),
    "slow answer": Scenario([scripts.delayed(2, WHOLE)], get_once),
    "interim": Scenario([scripts.informational(103, [], scripts.delayed(1, WHOLE))], get_once),
    "refused, then another": Scenario([WHOLE, WHOLE], get_once, refuse_first=True),
    "broken, then another": Scenario([break_late, WHOLE], get_once),
    "stale connection": Scenario([scripts.drop_reused(WHOLE)], two_gets),
    "timeout, then another": Scenario([scripts.hang(), WHOLE], get_once),
    "timeout": Scenario([scripts.hang()], small_upload),
    "cut": Scenario([scripts.cut_body(bytes(5000), 10_000, reset=False)], get_once),
    "HTTP/1.0": Scenario([scripts.until_close(b"whole" * 1000)], get_of_http_1_0),
    "left": Scenario([scripts.hang()], leave_while_the_server_thinks),
    "early answer": Scenario([scripts.early_answer()], post_too_much),
    "100-continue": Scenario([WHOLE], expect_continue),
    "tunnel": Scenario([scripts.switching(scripts.mirror, behind=b"behind")], talk_in_a_tunnel),
    "tunnel, cut": Scenario([scripts.switching(reset_at_once)], talk_in_a_tunnel),
    "offer refused": Scenario([WHOLE], make_an_offer),
    "offer taken up wrongly": Scenario([scripts.switching(scripts.mirror, "x")], make_an_offer),
    "offer refused, then another": Scenario([WHOLE, WHOLE], make_an_offer, refuse_first=True),
}


async def run_cancelled(scenario: Scenario, steps: int) -> bool:
    """Runs an exchange and cancels it after so many steps; False if it had ended before."""
    async with open_rig(*scenario.scripts, capacity=SMALL) as rig:
        if scenario.refuse_first:
            await rig.backends[0].stop()
        ours, theirs = rig.network.pair()
        instrument = CancelAfter(steps, scope := trio.CancelScope())
        async with trio.open_nursery() as nursery:

            async def drive() -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await scenario.drive(Client(MemoryStream(theirs)))
                theirs.close()

            async def serve() -> None:
                instrument.follow(trio.lowlevel.current_task())
                with scope:
                    await rig.proxy.serve(ours)

            trio.lowlevel.add_instrument(instrument)
            nursery.start_soon(serve)
            nursery.start_soon(drive)
        trio.lowlevel.remove_instrument(instrument)
        assert ours.closed
        assert rig.counters.read().connections_total == 1
        await check_pooled_connections(rig)
    return instrument.left <= 0


async def check_pooled_connections(rig: Rig) -> None:
    """Whatever is in the pool has to be good for the next request."""
    for backend in rig.backends:
        backend.script = scripts.answer(b"next")
    for _ in range(rig.servers.alive_count):
        assert (await rig.ask(get("/next", LAST))).body == b"next"


@pytest.mark.parametrize("name", SCENARIOS)
async def test_cancelled_after_any_step(name: str, autojump_clock: MockClock) -> None:
    steps = 0
    while await run_cancelled(SCENARIOS[name], steps + 1):
        steps += 1
    assert steps >= 4, "so few steps can't be an exchange"
