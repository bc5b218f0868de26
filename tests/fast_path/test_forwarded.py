"""`Forwarded` is written on the fast path as well, for Hosts with and without a port."""

from __future__ import annotations

import pytest

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.client import open_client
from tests.support.paths import both_paths
from trio_lb.config import Address, ForwardedField, HealthCheck, Listen, Profile, Server
from trio_lb.config.address import parse_server_address
from trio_lb.runtime.load_balancer import open_load_balancer


@both_paths
@pytest.mark.parametrize("field", [ForwardedField.ON, ForwardedField.ONLY])
async def test_forwarded_names_the_host(
    field: ForwardedField, fast_path: bool, on_slow_path: list[bytes]
) -> None:
    async with open_backend(scripts.answer(b"ok")) as backend:
        profile = Profile(
            listen=(Listen(address=Address(host="127.0.0.1", port=0)),),
            servers=(Server(address=parse_server_address(backend.url)),),
            health_check=HealthCheck(enabled=False),
            fast_path=fast_path,
            forwarded=field,
        )
        async with open_load_balancer(profile) as balancer:
            address = balancer.addresses[0]
            async with open_client(address) as client:
                for host in (b"example.com", b"example.com:8000", b"example.com"):
                    await client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
                    assert (await client.read_response()).status == 200
    end = address.removeprefix("http://")
    assert [request.header("forwarded") for request in backend.requests] == [
        f'for=127.0.0.1;proto=http;host=example.com;by="{end}"',
        f'for=127.0.0.1;proto=http;host="example.com:8000";by="{end}"',
        f'for=127.0.0.1;proto=http;host=example.com;by="{end}"',
    ]
    told = ["example.com", "example.com:8000", "example.com"]
    assert [request.header("x-forwarded-host") for request in backend.requests] == (
        told if field is ForwardedField.ON else [None] * 3
    )
    assert on_slow_path == ([] if fast_path else [b"/"] * 3)
