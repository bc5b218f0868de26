"""Real servers of other people, as processes."""

from __future__ import annotations

import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.support.net import free_port, http_url
from tests.support.process import ROOT, find, run_process, wait_listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.process import Child


#: A script for wrk: a hundred requests a second from each client.
PACED = ROOT / "tests" / "support" / "paced.lua"

#: Seconds after which wrk ends by itself; tests end it with INT, and it tells what it has counted.
_LONG = 300


def wrk(url: str, *options: str, clients: int = 8) -> list[str | Path]:
    """The command of clients that ask a hundred times a second each, until they get INT."""
    patience = ["-d", f"{_LONG}s", "--timeout", f"{_LONG}s"]
    return ["wrk", "-t", "1", "-c", str(clients), *patience, "-s", PACED, *options, url]


def requests_of(wrk: Child) -> int:
    """How many requests wrk has counted, without those that were under way at its end.

    Raises:
        AssertionError: one of them has failed.
    """
    assert not re.search(r"Socket errors|Non-2xx", wrk.output), wrk.output
    return int(re.findall(r"(\d+) requests in", wrk.output)[0])


@asynccontextmanager
async def run_http_server(directory: Path, port: int | None = None) -> AsyncIterator[str]:
    """Runs `python -m http.server` over a directory and gives its URL."""
    port = port or free_port()
    command = ["-m", "http.server", "--bind", "127.0.0.1", "--directory", str(directory), str(port)]
    async with run_process([sys.executable, *command]) as child:
        url = http_url("127.0.0.1", port)
        await wait_listening(url, child)
        yield url


@asynccontextmanager
async def run_haproxy(directory: Path, sections: str, port: int) -> AsyncIterator[str]:
    """Runs HAProxy in the foreground and gives its URL; tests are marked with `needs("haproxy")`.

    Args:
        directory: for its configuration.
        sections: its proxies, one of which listens on the port.
        port: of 127.0.0.1.
    """
    configuration = directory / f"haproxy-{port}.cfg"
    configuration.write_text(
        "global\n  maxconn 100\ndefaults\n  timeout connect 5s\n  timeout client 10s\n"
        f"  timeout server 10s\n{sections}\n"
    )
    async with run_process([find("haproxy") or "haproxy", "-db", "-f", configuration]) as child:
        url = http_url("127.0.0.1", port)
        await wait_listening(url, child)
        yield url


@asynccontextmanager
async def run_uvicorn(port: int | None = None) -> AsyncIterator[str]:
    """Runs uvicorn with `tests.support.asgi_app` and gives its URL."""
    port = port or free_port()
    command = ["-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    app = "tests.support.asgi_app:app"
    async with run_process([sys.executable, *command, app], cwd=ROOT) as child:
        url = http_url("127.0.0.1", port)
        await wait_listening(url, child)
        yield url


@asynccontextmanager
async def run_gunicorn(port: int | None = None) -> AsyncIterator[str]:
    """Runs gunicorn with `tests.support.wsgi_app` and gives its URL."""
    port = port or free_port()
    command = ["-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
    app = "tests.support.wsgi_app:app"
    async with run_process([sys.executable, *command, app], cwd=ROOT) as child:
        url = http_url("127.0.0.1", port)
        await wait_listening(url, child)
        yield url


@asynccontextmanager
async def run_node(port: int | None = None) -> AsyncIterator[str]:
    """Runs Node's http server with `tests/support/node_app.js` and gives its URL.

    Tests that use it are marked with `needs("node")`.
    """
    port = port or free_port()
    program = ROOT / "tests" / "support" / "node_app.js"
    async with run_process(["node", program, str(port)]) as child:
        url = http_url("127.0.0.1", port)
        await wait_listening(url, child)
        yield url


@asynccontextmanager
async def run_websocket_server(port: int | None = None) -> AsyncIterator[str]:
    """Runs `tests.support.websocket_server` and gives its URL, with `http:`."""
    port = port or free_port()
    command = [sys.executable, "-m", "tests.support.websocket_server", str(port)]
    async with run_process(command, cwd=ROOT) as child:
        url = http_url("127.0.0.1", port)
        await wait_listening(url, child)
        yield url
