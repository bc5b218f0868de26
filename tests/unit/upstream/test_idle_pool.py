"""Idle upstream connections: which is taken, and which are let go."""

from __future__ import annotations

from tests.support.memory import MemoryTransport, memory_pair
from trio_lb.net.deadlines import Deadlines
from trio_lb.upstream.idle_pool import UpstreamPool

Pair = tuple[MemoryTransport, MemoryTransport]


def _pairs(count: int) -> list[Pair]:
    deadlines = Deadlines()
    return [memory_pair(deadlines, deadlines) for _ in range(count)]


def _pool(limit: int = 8, max_idle: float = 4.0) -> UpstreamPool:
    return UpstreamPool(limit, max_idle)


async def test_last_in_is_first_out_and_servers_are_apart() -> None:
    pool = _pool()
    (first, _), (second, _), (other, _) = _pairs(3)
    pool.put(0, first, 1.0)
    pool.put(0, second, 2.0)
    pool.put(1, other, 2.0)
    assert len(pool) == 3
    assert pool.take(0, 2.0) is second
    assert pool.take(0, 2.0) is first
    assert pool.take(0, 2.0) is None
    assert pool.take(1, 2.0) is other


async def test_over_the_limit_the_oldest_connection_is_closed() -> None:
    pool = _pool(limit=1)
    (closed, _), (kept, _) = _pairs(2)
    pool.put(0, closed, 1.0)
    pool.put(0, kept, 2.0)
    assert (kept.closed, closed.closed, len(pool)) == (False, True, 1)
    none = _pool(limit=0)
    none.put(0, kept, 1.0)
    assert kept.closed


async def test_the_old_are_neither_taken_nor_kept() -> None:
    pool = _pool(max_idle=4.0)
    (old, _), (young, _) = _pairs(2)
    pool.put(0, old, 0.0)
    pool.put(0, young, 3.0)
    assert pool.take(0, 4.5) is young
    assert pool.take(0, 4.5) is None
    pool.put(0, young, 4.5)
    pool.expire(4.5)
    assert (old.closed, young.closed, len(pool)) == (True, False, 1)


async def test_a_caller_may_insist_on_a_fresher_one() -> None:
    pool = _pool(max_idle=4.0)
    [(transport, _)] = _pairs(1)
    pool.put(0, transport, 0.0)
    assert pool.take(0, 1.0, max_idle=0.5) is None
    assert not transport.closed
    assert pool.take(0, 1.0, max_idle=60.0) is transport
    pool.put(0, transport, 0.0)
    assert pool.take(0, 5.0, max_idle=60.0) is None  # never beyond the pool's own bound


async def test_what_its_server_closed_or_talked_on_is_closed_and_passed_over() -> None:
    pool = _pool()
    (good, _), (ended, ender), (talking, talker), (reset, resetter) = _pairs(4)
    for transport in (good, ended, talking, reset):
        pool.put(0, transport, 1.0)
    ender.close()
    resetter.reset()
    talker.send_nowait(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert pool.take(0, 1.0) is good
    assert ended.closed
    assert talking.closed
    assert reset.closed


async def test_a_connection_that_has_told_of_a_client_is_for_no_other() -> None:
    pool = _pool()
    (a, _), (plain, _), (b, _) = _pairs(3)
    pool.put(0, a, 1.0, b"PROXY a")
    pool.put(0, plain, 2.0)
    pool.put(0, b, 3.0, b"PROXY b")
    assert pool.take(0, 3.0, proxy_header=b"PROXY c") is None
    assert pool.take(0, 3.0) is plain
    assert pool.take(0, 3.0) is None
    assert pool.take(0, 3.0, proxy_header=b"PROXY a") is a
    assert pool.take(0, 3.0, proxy_header=b"PROXY a") is None
    assert pool.take(0, 3.0, proxy_header=b"PROXY b") is b


async def test_expire_closes_what_its_server_closed() -> None:
    pool = _pool()
    (good, _), (ended, ender) = _pairs(2)
    pool.put(0, ended, 1.0)
    pool.put(0, good, 1.0)
    ender.close()
    pool.expire(1.0)
    assert (ended.closed, good.closed, len(pool)) == (True, False, 1)


async def test_drop_closes_those_of_one_server_and_close_all() -> None:
    pool = _pool()
    (first, _), (second, _), (third, _) = _pairs(3)
    pool.put(0, first, 1.0)
    pool.put(0, second, 1.0)
    pool.put(1, third, 1.0)
    pool.drop(0)
    assert (first.closed, second.closed, third.closed) == (True, True, False)
    pool.close()
    assert (third.closed, len(pool)) == (True, 0)
