"""Processes that are stopped for longer than any timeout and go on: nobody is blamed (row 43)."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from tests.support.backend import open_backend
from tests.support.balancer import CHECK_PATH
from tests.support.client import open_client
from tests.support.standstills import STATES
from tests.support.supervised import Program, open_supervisor, run_supervisor, until
from tests.support.waiting import PATIENCE
from trio_lb.supervise import monitor as monitor_module

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.backend import Exchange
    from tests.support.client import Client

#: Of everything, seconds; and how long the process is stopped.
TIMEOUT = 1.5
STOPPED = 3 * TIMEOUT

#: All that one listener can have at a time, twice; the server's bytes come on its connections.
NAMES = [name for name in STATES if name != "proxy header"][:10] * 2


async def test_row_43_a_worker_that_was_stopped_serves_what_came_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scale: 20 clients in ten states, stopped for 3 times all timeouts."""
    monkeypatch.setattr(monitor_module, "SILENCE", 30.0)
    keys = ("connect", "client_head", "body", "keep_alive")
    settings = {
        "timeout": TIMEOUT,
        "timeouts": dict.fromkeys(keys, TIMEOUT) | {"drain": 3},
        "health_check": "off",
        "upstream": {"idle_connections": 0},  # the server has no second answer on most of them
    }
    cases = {f"/{number}": STATES[name] for number, name in enumerate(NAMES)}
    clients: dict[str, Client] = {}

    async def script(exchange: Exchange) -> None:
        await cases[exchange.request.target].script(exchange)

    async with (
        open_backend(script) as backend,
        open_supervisor(backend.url, workers=1, **settings) as balancer,
        AsyncExitStack() as stack,
    ):
        for target, state in cases.items():
            clients[target] = await stack.enter_async_context(open_client(balancer.url))
            await clients[target].send(state.asking_for(target).sent)
        expected = {target for target, state in cases.items() if state.answer}
        await backend.wait_until(lambda it: expected <= {each.target for each in it.requests})
        [pid] = balancer.pids
        await trio.sleep(0.1)
        os.kill(pid, signal.SIGSTOP)
        for target, state in cases.items():
            state.asking_for(target).come(clients[target], backend, target)
        await trio.sleep(STOPPED)
        os.kill(pid, signal.SIGCONT)
        with trio.fail_after(PATIENCE):
            outcomes = [(await each.read_response()).status for each in clients.values()]
        assert outcomes == [200] * 20
        [server] = balancer.statistics().servers
        assert (server.state, server.failed) == ("alive", 0)
        assert balancer.pids == [pid]


async def test_row_43_a_stopped_supervisor_fails_no_check(tmp_path: Path) -> None:
    """Scale: stopped three times in the middle of a check, for 3 times its timeout; what answers
    the check then is there."""
    stops, running = 0, list[Program]()
    checks = {"path": CHECK_PATH, "interval": "0.5s", "timeout": "0.5s", "fall": 1}

    async def script(exchange: Exchange) -> None:
        nonlocal stops
        if not running or stops == 3:
            await exchange.respond()
            return
        stops += 1
        running[0].child.signal(signal.SIGSTOP)
        await exchange.respond()
        await trio.sleep(1.5)
        running[0].child.signal(signal.SIGCONT)

    async with (
        open_backend(script) as backend,
        run_supervisor(tmp_path, backend.url, health_check=checks, workers=1) as program,
    ):
        running.append(program)
        await until(lambda: stops == 3)
        answered = len(backend.requests)
        await until(lambda: len(backend.requests) > answered + 2)
        assert "health check" not in program.child.output
        assert "dead" not in program.child.output
        program.child.signal(signal.SIGTERM)
        assert await program.child.wait() == 0
