"""A minute of checked chaos in every test run; an hour of it is `make chaos`.

Seeds are fixed: what is asked and what harm is done are the same each time, only the system decides
how it all meets.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import trio

from tests.chaos.client import Findings, Orders, run_clients
from tests.chaos.oracle import check_executions
from tests.chaos.plan import SERVERS, Flavour
from tests.chaos.runner import SHORT, Report, run_lap
from tests.chaos.server import ChaosServer, serve
from tests.support.balancer import open_balancer
from tests.support.leaks import held, held_at_first
from tests.support.net import free_port, http_url
from tests.support.paths import both_paths
from tests.support.supervised import until

if TYPE_CHECKING:
    from tests.chaos.plan import Exchange
    from tests.support.backend import Exchange as Served


@both_paths
async def test_chaos_does_no_wrong_and_leaves_nothing(fast_path: bool) -> None:
    """With real processes, which are stopped, killed and reloaded."""
    report = Report()
    await run_lap("minute", fast_path, SHORT, 3.0, report)
    assert not report.wrong, "\n\n".join(report.wrong)
    assert report.outcomes["whole"] > report.outcomes.total() / 2
    assert report.harm


async def run_embedded(
    fast_path: bool, flavour: Flavour, seconds: float, servers: type[ChaosServer] = ChaosServer
) -> tuple[Findings, list[str]]:
    """All in this process, so that tasks count; and what there was to find."""
    log: list[str] = []
    async with trio.open_nursery() as nursery:
        ports = [free_port() for _ in range(SERVERS)]
        for number, port in enumerate(ports):
            await nursery.start(serve, servers(number, log.append), port)
        async with open_balancer(
            http_url("zero.chaos", ports[0]),
            *(http_url("127.0.0.1", port) for port in ports[1:]),
            fast_path=fast_path,
            timeouts={"half_closed": "5s"},
            upstream={"idle_timeout": "200ms"},
            health_check={"path": "/well", "interval": "500ms", "timeout": "500ms"},
        ) as balancer:
            await trio.sleep(0.3)
            base = held_at_first()
            port = urlsplit(balancer.addresses[0]).port or 0
            orders = Orders(port, "embedded", flavour, seconds, visitors=4, pause=0.1)
            findings = await run_clients(orders)
            await until(lambda: held() == base)
            assert balancer.statistics().client_connections == 0
            assert balancer.statistics().total_active == 0
        nursery.cancel_scope.cancel()
    return findings, check_executions(log, findings.outcomes, frozenset())


class Names:
    """A resolver whose answers, for .chaos, fail every other time."""

    def __init__(self) -> None:
        self.asked = 0
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if not (isinstance(name, str) and name.endswith(".chaos")):
            return self._real(host, *args, **kwargs)
        self.asked += 1
        if self.asked % 2:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._real("127.0.0.1", *args, **kwargs)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    return names


@both_paths
@pytest.mark.parametrize("flavour", list(Flavour))
async def test_an_embedded_balancer_leaves_nothing(
    fast_path: bool, flavour: Flavour, names: Names
) -> None:
    findings, executed_wrongly = await run_embedded(fast_path, flavour, 2.0)
    assert not findings.wrong, "\n\n".join(findings.wrong)
    assert not executed_wrongly
    assert names.asked


class Liar(ChaosServer):
    """One bit of what it sends is another one, now and then."""

    async def _pour(self, served: Served, exchange: Exchange, data: bytes) -> None:
        if exchange.key.endswith("7") and exchange.body:
            begin = exchange.body[:8]
            data = data.replace(begin, bytes([begin[0] ^ 1]) + begin[1:], 1)
        await super()._pour(served, exchange, data)


class Forgetful(ChaosServer):
    """Gives the answer of another request, now and then."""

    _other: Exchange | None = None

    async def _send(self, served: Served, exchange: Exchange, word: str, last: str) -> None:
        other, self._other = self._other, exchange
        if other and other.has_body == exchange.has_body and exchange.key.endswith("7"):
            exchange = other
        await super()._send(served, exchange, word, last)


class Twice(ChaosServer):
    """Executes a request twice, now and then."""

    async def _read(self, served: Served, exchange: Exchange) -> str:
        if exchange.key.endswith("7"):
            self.log(f"begin {exchange.key}")
        return await super()._read(served, exchange)


@pytest.mark.parametrize("servers", [Liar, Forgetful, Twice])
async def test_lies_are_found_on_the_way(servers: type[ChaosServer], names: Names) -> None:
    """What the judge would say of lies is tested beside it; here, that it gets to hear of them."""
    findings, executed_wrongly = await run_embedded(True, Flavour.CALM, 1.0, servers)
    assert bool(findings.wrong) == (servers is not Twice)
    assert any("executed 2 times" in text for text in executed_wrongly) == (servers is Twice)
