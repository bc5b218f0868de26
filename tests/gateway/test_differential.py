"""What we write for servers, others read as we do: nginx and HAProxy, with a recorder behind them.

Every request that the tables let through is sent on, byte for byte as our server got it, to each
of the two as a proxy. What comes out at its other end must be the same request, and as many of
them: once each on a connection of its own, and then all behind each other on one, where a single
byte read differently would shift everything that follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.gateway.cases import Seen
from tests.gateway.requesting import echo, run_requests, send_continue
from tests.gateway.test_requests import CASES
from tests.gateway.verdicts import PATIENCE, OpenGateway, Way
from tests.support.net import free_port
from tests.support.peers import run_haproxy
from tests.support.process import needs, run_nginx
from tests.support.recorder import Recorder, open_recorder
from tests.support.strict_client import open_strict_client

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.strict_http import Request

ACCEPTED = [case for case in CASES if any(isinstance(part, Seen) for part in case.answers)]

#: nginx as a plain proxy: what it gets is what it passes on, as far as it lets itself be told.
NGINX = """
    client_max_body_size 0;
    large_client_header_buffers 8 64k;
    underscores_in_headers on;
    ignore_invalid_headers off;
    location / {{
      proxy_pass http://{recorder};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
    }}
"""

HAPROXY = """
global
  tune.bufsize 65536
  tune.http.maxhdr 1000
listen proxy
  mode http
  bind 127.0.0.1:{port}
  server recorder {recorder}
"""


@pytest.fixture(scope="module")
def sent(open_gateway: OpenGateway) -> list[Request]:
    """Every request that a server of ours has got."""
    _, requests = trio.run(run_requests, ACCEPTED, Way.WHOLE, open_gateway)
    return requests


@needs("nginx")
async def test_nginx_reads_the_same_requests(sent: list[Request], tmp_path: Path) -> None:
    async with (
        open_recorder() as recorder,
        run_nginx(tmp_path, NGINX.format(recorder=recorder.authority)) as url,
    ):
        refused = await replay(sent, url, recorder)
    assert refused == {
        # It knows methods of capitals, - and _ only.
        ("!#$%&'*+-.^_`|~09AZaz", "/", 400),
        ("get", "/", 400),
        ("OPTIONS", "*", 400),
        ("GET", "/%2e%2E/%00%0d%0a%20HTTP/1.1", 400),  # above the root, and NUL
        ("TRACE", "/", 405),
    }


@needs("haproxy")
async def test_haproxy_reads_the_same_requests(sent: list[Request], tmp_path: Path) -> None:
    async with open_recorder() as recorder:
        port = free_port()
        sections = HAPROXY.format(recorder=recorder.authority, port=port)
        async with run_haproxy(tmp_path, sections, port) as url:
            refused = await replay(sent, url, recorder)
    assert refused == set()


async def replay(
    sent: Sequence[Request], url: str, recorder: Recorder
) -> set[tuple[str, str, int]]:
    """Sends requests through a proxy; returns those that it refused (with method and target).

    Raises:
        AssertionError: what it passed on is something else.
    """
    assert len(sent) > len(ACCEPTED)
    recorder.on_head, recorder.on_request = send_continue, echo
    refused: set[tuple[str, str, int]] = set()
    passed = []
    for request in sent:
        [status] = await statuses(url, [request])
        if status == 200:
            passed.append(request)
        else:
            refused.add((request.method, request.target, status))
    assert_same(recorder.requests, passed)
    recorder.requests.clear()
    assert await statuses(url, passed) == [200] * len(passed)
    assert_same(recorder.requests, passed)
    assert recorder.faults == []
    return refused


async def statuses(url: str, requests: Sequence[Request]) -> list[int]:
    """The statuses that requests get, all sent at once on one connection."""
    with trio.fail_after(PATIENCE):
        async with open_strict_client(url) as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.send, [b"".join(request.raw for request in requests)])
            responses = [await client.response(request.method) for request in requests]
    return [0 if response is None else response.status for response in responses]


def assert_same(read: Sequence[Request], written: Sequence[Request]) -> None:
    """Both are the same requests in the same order, each as far as it matters where it ends."""
    assert [essence(request) for request in read] == [essence(request) for request in written]


def essence(request: Request) -> tuple[str, str, str, bytes, str | None]:
    name = request.header("x-request-id")
    return request.method, request.target, request.host, request.body, name
