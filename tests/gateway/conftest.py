"""How the gateway that the tables are held against is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.balancer import open_balancer

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tests.gateway.verdicts import OpenGateway
    from trio_lb import LoadBalancer

#: The paths that a request can take, and the settings that make it take them.
PATHS: dict[str, dict[str, object]] = {
    "fast": {"fast_path": True},
    "slow": {"fast_path": False},
}


@pytest.fixture(scope="module", params=PATHS)
def open_gateway(request: pytest.FixtureRequest) -> OpenGateway:
    """A balancer over one server, which is asked once and never checked.

    Nothing in these tables is about time, so that a busy machine makes no difference.
    """
    settings = PATHS[request.param]
    timeouts = {"client_head": "60s", "body": "60s", "connect": "60s"}

    def open_one(url: str) -> AbstractAsyncContextManager[LoadBalancer]:
        return open_balancer(
            url, health_check="off", retries=0, timeout="60s", timeouts=timeouts, **settings
        )

    return open_one
