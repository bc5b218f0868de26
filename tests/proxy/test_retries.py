"""Failures: which request goes to another server, and which server is marked down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.support import scripts
from tests.support.memory import MemoryNetwork
from tests.support.rig import Rig, get, open_rig, post
from trio_lb import parse_profile
from trio_lb.errors import ConnectFailed

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.backend import Exchange, Script

BREAK = scripts.raw(b"", reset=True)
CLOSE = scripts.raw(b"", reset=False)
CHUNKED = "Transfer-Encoding: chunked"


def requests(rig: Rig) -> list[int]:
    """How many requests each server has seen."""
    return [len(backend.requests) for backend in rig.backends]


# No connection


@pytest.mark.parametrize("data", [get(), post(b"x"), post(b"x" * 200_000)])
async def test_refused_means_the_next_server_for_any_method(data: bytes) -> None:
    async with open_rig(scripts.answer(b"1"), scripts.answer(b"2")) as rig:
        await rig.backends[0].stop()
        assert (await rig.ask(data)).body == b"2"
        assert rig.network.dialled == [3001, 3002]
        assert rig.states == ["dead", "alive"]
        assert [change.reason for change in rig.changes] == ["connect: refused"]
        await rig.idle()
        assert (rig.failed, rig.served) == ([1, 0], [0, 1])
        assert (await rig.ask(data)).body == b"2"
        assert 3001 not in rig.network.dialled[2:]


async def test_a_black_hole_costs_the_connect_timeout_once(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer(b"1"), scripts.answer(b"2")) as rig:
        rig.network.black_holes.add(3001)
        assert (await rig.ask(post(b"x"))).body == b"2"
        assert trio.current_time() == pytest.approx(2, abs=0.2)
        assert rig.states == ["dead", "alive"]


async def test_a_black_hole_without_another_try(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.answer(), scripts.answer(), retries=0) as rig:
        rig.network.black_holes.add(3001)
        assert (await rig.ask(get())).status == 504


async def test_all_refused_is_unavailable() -> None:
    async with open_rig(*[scripts.answer()] * 3) as rig:
        for backend in rig.backends:
            await backend.stop()
        for _ in range(2):
            response = await rig.ask(post(b"x"))
            assert (response.status, response.header("retry-after")) == (503, "1")
        assert rig.states == ["dead"] * 3
        assert len(rig.network.dialled) == 3  # the second request tried nobody


async def test_the_status_of_unavailability_is_the_profiles() -> None:
    async with open_rig(scripts.answer(), unavailable_status=500) as rig:
        await rig.backends[0].stop()
        response = await rig.ask(get())
        assert (response.status, response.header("retry-after")) == (500, "1")


async def test_tries_are_bounded() -> None:
    async with open_rig(*[BREAK] * 4, retries=1) as rig:
        assert (await rig.ask(get())).status == 502
        assert len(rig.network.dialled) == 2
        assert rig.failed == [1, 1, 0, 0]


async def test_being_refused_is_no_try(autojump_clock: MockClock) -> None:
    async with open_rig(*[scripts.answer()] * 6, retries=1) as rig:
        for backend in rig.backends[:5]:
            await backend.stop()
        assert (await rig.ask(post(b"x"))).status == 200
        assert rig.states == [*["dead"] * 5, "alive"]


async def test_all_full_is_unavailable_and_soon_worth_another_try(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(scripts.hang(), max_connections=1) as rig, rig.client() as client:
        await client.send(get())
        await rig.backends[0].wait_until(lambda backend: bool(backend.requests))
        response = await rig.ask(get())
        assert (response.status, response.header("retry-after")) == (503, "1")
        assert rig.states == ["alive"]


async def test_a_server_is_not_tried_twice_for_one_request() -> None:
    async with open_rig(BREAK, BREAK, retries=5) as rig:
        assert (await rig.ask(get())).status == 502
        assert requests(rig) == [1, 1]


async def test_who_broke_the_request_off_counts_more_than_who_refused_it() -> None:
    async with open_rig(BREAK, BREAK, scripts.answer()) as rig:
        await rig.backends[2].stop()
        response = await rig.ask(get())
        assert (response.status, response.header("retry-after")) == (502, None)
        assert rig.failed == [1, 1, 1]
        assert rig.states == ["alive", "alive", "dead"]


async def test_being_out_of_descriptors_is_no_servers_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def dial(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise ConnectFailed("connect: Too many open files", 503, local=True)

    monkeypatch.setattr(MemoryNetwork, "dial", dial)
    async with open_rig(scripts.answer(), scripts.answer()) as rig:
        assert (await rig.ask(get())).status == 503
        assert rig.states == ["alive", "alive"]
        assert rig.failed == [0, 0]


# Broken before an answer


@pytest.mark.parametrize("script", [BREAK, CLOSE, scripts.garbage_head(), scripts.endless_head()])
async def test_idempotent_requests_go_to_another_server(script: Script) -> None:
    async with open_rig(script, scripts.answer(b"2")) as rig:
        assert (await rig.ask(get())).body == b"2"
        assert requests(rig) == [1, 1]
        assert (rig.failed, rig.served) == ([1, 0], [0, 1])
        assert rig.states == ["alive", "alive"]
        assert (await rig.ask(post(b"small", method="PUT"))).body == b"2"
        assert rig.backends[1].requests[1].body == b"small"


@pytest.mark.parametrize("script", [BREAK, CLOSE, scripts.garbage_head(), scripts.endless_head()])
@pytest.mark.parametrize("data", [post(b"x"), get(method="POST"), get(method="PATCH")])
async def test_others_are_executed_at_most_once(script: Script, data: bytes) -> None:
    async with open_rig(script, scripts.answer(b"2")) as rig:
        response = await rig.ask(data)
        assert response.status == 502
        assert response.header("retry-after") is None
        assert requests(rig) == [1, 0]
        assert rig.failed == [1, 0]


async def test_a_client_keeps_its_connection_after_a_502() -> None:
    script = scripts.in_turn(BREAK, scripts.answer(b"fine"))
    async with open_rig(script) as rig, rig.client() as client:
        await client.send(post(b"x") + get())
        assert (await client.read_response()).status == 502
        assert (await client.read_response()).body == b"fine"


async def test_a_body_too_large_to_remember_is_not_sent_again() -> None:
    async with open_rig(BREAK, scripts.answer(b"2"), replay_body=1000) as rig:
        assert (await rig.ask(post(b"x" * 1000, method="PUT"))).body == b"2"
        assert rig.backends[1].requests[0].body == b"x" * 1000
        assert rig.failed == [1, 0]
        rig.backends[0].script = rig.backends[1].script = BREAK
        assert (await rig.ask(post(b"x" * 100_000, method="PUT"))).status == 502
        assert sum(requests(rig)) == 3


async def test_what_came_of_a_stream_is_sent_again_and_the_rest_behind_it() -> None:
    async def break_after_a_piece(exchange: Exchange) -> None:
        await exchange.receive()
        await exchange.reset()

    async with (
        open_rig(break_after_a_piece, scripts.answer(b"2")) as rig,
        rig.client() as client,
    ):
        await client.send(get("/", CHUNKED, method="PUT") + scripts.chunk(b"one"))
        await rig.backends[1].wait_until(lambda backend: bool(backend.requests))
        await client.send(scripts.chunk(b"two") + scripts.last_chunk([("X-Sum", "1")]))
        assert (await client.read_response()).body == b"2"
        [request] = rig.backends[1].requests
        assert (request.body, list(request.trailers)) == (b"onetwo", [("x-sum", "1")])


# Reused connections


async def test_a_stale_connection_is_nobodys_failure() -> None:
    script = scripts.drop_reused(scripts.answer())
    async with open_rig(script, retries=0) as rig, rig.client() as client:
        for _ in range(3):
            await client.send(get())
            assert (await client.read_response()).status == 200
        assert rig.failed == [0]
        assert len(rig.backends[0].connections) == 3
        attempts = [record.attempts for record in rig.records]
        assert [[each.reused for each in request] for request in attempts] == [
            [False], [True, False], [True, False],
        ]  # fmt: skip


async def test_a_request_that_cannot_be_repeated_is_not_on_a_stale_connection() -> None:
    script = scripts.drop_reused(scripts.answer())
    async with open_rig(script) as rig, rig.client() as client:
        await client.send(get() + post(b"x"))
        assert (await client.read_response()).status == 200
        assert (await client.read_response()).status == 502
        assert len(rig.backends[0].requests) == 2
        assert rig.failed == [0]


async def test_it_travels_on_a_fresh_one_instead(autojump_clock: MockClock) -> None:
    script = scripts.drop_reused(scripts.answer())
    async with open_rig(script) as rig, rig.client() as client:
        for data in (get(), post(b"x"), get(method="PATCH")):
            await client.send(data)
            assert (await client.read_response()).status == 200
            await trio.sleep(0.6)
        assert len(rig.backends[0].connections) == 3


async def test_a_reused_connection_that_breaks_in_an_answer_is_a_failure() -> None:
    broken = scripts.raw(b"HTTP/1.1 2", reset=True)
    script = scripts.in_turn(scripts.answer(), broken, scripts.answer())
    async with open_rig(script, retries=0) as rig, rig.client() as client:
        await client.send(get() + get())
        assert (await client.read_response()).status == 200
        assert (await client.read_response()).status == 502
        assert rig.failed == [1]


# Too late


async def test_a_timeout_is_tried_once_more(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.hang(), scripts.answer(b"2")) as rig:
        assert (await rig.ask(get())).body == b"2"
        assert trio.current_time() == pytest.approx(10, abs=0.3)
        assert rig.failed == [1, 0]
        assert rig.states == ["alive", "alive"]
        await rig.backends[0].wait_until(lambda backend: not backend.open_connections)


async def test_two_timeouts_are_enough(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.hang(), scripts.hang(), scripts.answer()) as rig:
        assert (await rig.ask(get())).status == 504
        assert trio.current_time() == pytest.approx(20, abs=0.5)
        assert requests(rig) == [1, 1, 0]


async def test_a_timeout_of_a_request_that_cannot_be_repeated(autojump_clock: MockClock) -> None:
    async with open_rig(scripts.hang(), scripts.answer()) as rig:
        assert (await rig.ask(post(b"x"))).status == 504
        assert trio.current_time() == pytest.approx(10, abs=0.3)
        assert requests(rig) == [1, 0]


# Failures in a row


async def test_three_failures_in_a_row_take_a_server_out() -> None:
    async with open_rig(BREAK, scripts.answer(b"2")) as rig:
        for failures in (1, 2, 3):
            assert rig.states == ["alive", "alive"]
            assert (await rig.ask(get())).body == b"2"
            assert rig.failed == [failures, 0]
        assert rig.states == ["dead", "alive"]
        assert rig.changes[0].reason.startswith("3 failures in a row, last: the server ")
        await rig.ask(get())
        assert requests(rig)[0] == 3


async def test_an_answer_in_between_starts_the_count_anew() -> None:
    script = scripts.in_turn(BREAK, BREAK, scripts.closing(), BREAK, BREAK, scripts.closing())
    async with open_rig(script, scripts.answer()) as rig:
        for _ in range(20):
            assert (await rig.ask(get())).status == 200
        assert rig.failed == [4, 0]
        assert rig.states == ["alive", "alive"]


async def test_a_refused_connection_takes_even_the_last_server_out() -> None:
    async with open_rig(scripts.answer()) as rig:
        await rig.backends[0].stop()
        assert (await rig.ask(get())).status == 503
        assert rig.states == ["dead"]


# Whose fault it was (more of it, on both paths: tests/faults/test_blame.py)


async def test_a_network_of_ipv6_addresses_is_one_client() -> None:
    async with open_rig(BREAK, scripts.answer()) as rig:
        for host in range(10):
            await rig.ask(post(b"x"), peer=f"2001:db8::{host + 1}")
            await rig.ask(post(b"x"), peer=f"2001:db8::{host + 1}")
        assert (rig.failed, rig.states) == ([10, 0], ["alive", "alive"])
        await rig.ask(post(b"x"), peer="2001:db8:0:1::1")
        assert (rig.failed, rig.states) == ([11, 0], ["dead", "alive"])


async def test_clients_of_a_trusted_proxy_are_told_apart() -> None:
    trusted = parse_profile("trusted_proxies: 192.0.2.1\nservers: http://127.0.0.1:1")
    async with open_rig(BREAK, scripts.answer(), trusted_proxies=trusted.trusted_proxies) as rig:
        for _ in range(10):
            for _ in range(2):
                await rig.ask(post(b"x", "X-Forwarded-For: 198.51.100.1"))
        assert (rig.failed, rig.states) == ([10, 0], ["alive", "alive"])
        await rig.ask(post(b"x", "X-Forwarded-For: 198.51.100.2"))
        assert (rig.failed, rig.states) == ([11, 0], ["dead", "alive"])


async def test_a_failure_before_a_server_came_back_is_not_counted(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(scripts.hang(), scripts.delayed(5, scripts.answer())) as rig:

        async def ask() -> None:
            assert (await rig.ask(get())).status == 200

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(ask)
            await trio.sleep(12)  # three are late at the first one, and asked again
            rig.servers.mark_down(rig.servers.members[0], "for the test")
            rig.servers.mark_up(rig.servers.members[0], "for the test")
        assert rig.failed == [3, 0]
        assert rig.states == ["alive", "alive"]
