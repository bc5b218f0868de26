"""What holds for all tests of the fast path, and a look at which path was taken."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.built import FAST_PATH
from tests.support.leaks import held
from trio_lb.http.heads import RequestHead
from trio_lb.proxy.request import RequestHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_lb.downstream.http1_session import Http1Session
    from trio_lb.downstream.stream import ClientStream
    from trio_lb.fast.exchange import ClientSide, Handover
    from trio_lb.http.identity import Peer


if not FAST_PATH:
    collect_ignore_glob = ["test_*"]


@pytest.fixture(autouse=True)
def _nothing_is_left_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """However a run ends, its exchange is as it was before the first request.

    What fails here is logged, which fails a test too.
    """
    if not FAST_PATH:
        return
    from trio_lb.proxy.fast_path import FastPathEntry

    serve = FastPathEntry.serve
    new: list[bytes] = []  # the memory of an exchange before its first request

    async def checked(
        self: FastPathEntry, session: Http1Session, fast_side: ClientSide, peer: Peer
    ) -> Handover | None:
        new.append(fast_side.exchange.memory)  # that of clients who have no request
        try:
            return await serve(self, session, fast_side, peer)
        finally:
            assert fast_side.exchange.memory == new[0]
            assert {exchange.memory for exchange in self._fast_path.spare} <= {new[0]}

    monkeypatch.setattr(FastPathEntry, "serve", checked)


@pytest.fixture(autouse=True)
def _no_bug_was_caught_and_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    errors = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert not errors, errors[0].exc_info


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> Any:
    """Every test ends with the tasks and descriptors that it began with."""
    before = held()
    yield
    assert held() == before


@pytest.fixture
def on_slow_path(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The targets of all requests that the slow path has served, or gone on with."""
    targets: list[bytes] = []
    serve = RequestHandler.serve

    async def noted(self: RequestHandler, stream: ClientStream, *more: Any) -> None:
        if isinstance(stream.head, RequestHead):
            targets.append(stream.head.target)
        await serve(self, stream, *more)

    monkeypatch.setattr(RequestHandler, "serve", noted)
    return targets
