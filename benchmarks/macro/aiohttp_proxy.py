"""The Python peer: a reverse proxy on aiohttp as one would write it, on uvloop if installed.

Streamed in both directions, with pooled connections to servers in turn; no retries, checks,
limits or accounts.

    python aiohttp_proxy.py PORT SERVER_PORT...
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Any

    from multidict import CIMultiDict, CIMultiDictProxy

run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
with suppress(ImportError):
    import uvloop

    run = uvloop.run

HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding")
)


def end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Returns the headers that concern both ends."""
    kept = headers.copy()
    for name in HOP_BY_HOP & {name.lower() for name in headers}:
        del kept[name]
    return kept


async def relay(
    request: web.BaseRequest, session: aiohttp.ClientSession, server: int
) -> web.StreamResponse:
    """Takes one request to a server, and its answer back."""
    headers = end_to_end(request.headers)
    headers["X-Forwarded-For"] = request.remote or ""
    async with session.request(
        request.method,
        URL(f"http://127.0.0.1:{server}{request.raw_path}", encoded=True),
        headers=headers,
        data=request.content if request.body_exists else None,
        allow_redirects=False,
    ) as answer:
        response = web.StreamResponse(status=answer.status, headers=end_to_end(answer.headers))
        await response.prepare(request)
        async for data in answer.content.iter_any():
            await response.write(data)
        await response.write_eof()
        return response


async def serve(port: int, servers: Iterator[int]) -> None:
    """Relays from one port to servers in turn, until it is ended."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=60),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
    ) as session:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await relay(request, session, next(servers))

        runner = web.ServerRunner(web.Server(handle, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await asyncio.Event().wait()


def main() -> None:
    """Reads the ports and serves."""
    port, *servers = (int(argument) for argument in sys.argv[1:])
    run(serve(port, itertools.cycle(servers)))


if __name__ == "__main__":
    main()
