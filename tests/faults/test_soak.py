"""Mixed traffic for a while (RELIABILITY row 27): nothing grows.

The whole million is `python -m benchmarks.soak`, in a process of its own.
"""

from __future__ import annotations

import gc
import random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trio

from benchmarks.soak import run_clients, serve
from tests.support.balancer import open_balancer, states
from tests.support.leaks import held, held_at_first

if TYPE_CHECKING:
    from trio.testing import MockClock

#: Load, which reaches no line that others do not, and takes twice as long where lines are counted.
pytestmark = pytest.mark.no_cover


async def test_row_27_nothing_grows_under_mixed_traffic(autojump_clock: MockClock) -> None:
    """Four times 1000 requests of all kinds; in the balancer's own process, so objects count."""
    async with trio.open_nursery() as nursery:
        urls = []
        for _ in range(2):
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(serve, listener)
            urls.append(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
        upstream = {"idle_timeout": "10ms"}  # the sweep closes them within a second
        # Three answers missing in a row, which happens by chance, mark a server down.
        check = {"interval": "1s", "path": "/small"}
        async with open_balancer(*urls, upstream=upstream, health_check=check) as balancer:
            port = urlsplit(balancer.addresses[0]).port
            assert port is not None
            await trio.testing.wait_all_tasks_blocked()
            base = held_at_first()
            objects = []
            for _ in range(4):
                wrong = await run_clients(port, 1000, random.Random(27), lambda done: None)
                assert not wrong
                await trio.sleep(2)
                assert held() == base
                gc.collect()
                objects.append(len(gc.get_objects()))
            assert objects[3] - objects[1] < 100, objects
            assert not gc.garbage
            assert states(balancer) == ["alive", "alive"]
            statistics = balancer.statistics()
            assert (statistics.client_connections, statistics.total_active) == (0, 0)
            assert statistics.requests_total == 4000
        nursery.cancel_scope.cancel()
