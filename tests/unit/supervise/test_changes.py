"""Which reloads are applied in place."""

from __future__ import annotations

import pytest

from tests.support.balancer import profile_of
from trio_lb.config import compile_plan
from trio_lb.supervise.changes import only_members_change

A, B = "http://127.0.0.1:1", "http://127.0.0.1:2"


@pytest.mark.parametrize(
    ("servers", "settings"),
    [
        ([A], {}),
        ([B, A], {}),
        ([{"url": A, "weight": 3, "max_connections": 9, "name": "a"}], {}),
        ([{"url": A + "/path"}], {}),
        ([A], {"algorithm": "lrt"}),
        ([A], {"health_check": {"interval": "1s", "path": "/health"}}),
        ([A], {"health_check": "off"}),
    ],
)
def test_in_place(servers: list[object], settings: dict[str, object]) -> None:
    before = compile_plan(profile_of(A))
    assert only_members_change(before, compile_plan(profile_of(*servers, **settings)))


@pytest.mark.parametrize(
    ("servers", "settings"),
    [
        ([A], {"timeout": "3s"}),
        ([A], {"timeouts": {"connect": "3s"}}),
        ([A], {"limits": {"head": "4KiB"}}),
        ([A], {"upstream": {"idle_connections": 3}}),
        ([A], {"listen": "http://127.0.0.1:9"}),
        ([A], {"retries": 0}),
        ([A], {"access_log": "-"}),
        ([A], {"trusted_proxies": "127.0.0.1"}),
        ([{"url": A, "send_proxy": "v1"}], {}),
    ],
)
def test_with_new_workers(servers: list[object], settings: dict[str, object]) -> None:
    before = compile_plan(profile_of(A))
    after = compile_plan(profile_of(*servers, **settings))
    assert not only_members_change(before, after)
    assert not only_members_change(after, before)
