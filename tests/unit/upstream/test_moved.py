"""Whose names are looked up, as servers come and go, and which idle connections follow them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import trio

from tests.support.balancer import pool_of
from trio_lb.net.resolver import Resolver
from trio_lb.pool import Members
from trio_lb.upstream.moved import MovedServers

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.names import Names
    from trio_lb.upstream.idle_pool import IdleConnections


class Kept:
    """Which addresses connections were kept to, by table slot."""

    def __init__(self) -> None:
        self.hosts: dict[int, frozenset[str]] = {}

    def keep_only(self, server: int, hosts: frozenset[str]) -> None:
        self.hosts[server] = hosts


async def test_names_come_and_go_with_their_servers(
    nursery: trio.Nursery, names: Names, autojump_clock: MockClock
) -> None:
    names.answers = {"a.test": ["192.0.2.1"], "b.test": ["192.0.2.2", "192.0.2.3"]}
    servers = pool_of("http://a.test:1", "http://127.0.0.1:2", "http://b.test:3").servers
    resolver = Resolver()
    nursery.start_soon(resolver.run)
    moved = MovedServers(resolver, Members(servers[:2], (5, 6)))
    await trio.sleep(1)
    assert [name for name, _ in names.asked] == ["a.test"]
    moved.set_members(Members(servers[1:], (6, 7), 1))
    assert len(resolver) == 1
    kept = Kept()
    idle = cast("IdleConnections", kept)
    moved.close_idle(idle)
    assert kept.hosts == {}, "before the first look-up nothing is closed"
    await trio.sleep(100)
    assert {name for name, _ in names.asked[1:]} == {"b.test"}
    moved.close_idle(idle)
    assert kept.hosts == {7: {"192.0.2.2", "192.0.2.3"}}
