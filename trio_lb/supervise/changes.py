"""What a reload changes: whether workers can take it as they are, or others have to take over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from trio_lb.plan import Plan, UpstreamSettings


def only_members_change(before: Plan, after: Plan) -> bool:
    """Whether all that differs is what the supervisor does, or can tell workers that run.

    That is the servers of pools and all that is said of each, the algorithms, and health checks. It
    is not so where connections to servers come to begin with PROXY headers, or no longer do: then
    requests take another path.
    """
    return _besides_members(before) == _besides_members(after)


def _besides_members(plan: Plan) -> tuple[Plan, list[tuple[str, UpstreamSettings, bool]]]:
    pools = [
        (pool.name, pool.upstream, any(server.send_proxy for server in pool.servers))
        for pool in plan.pools
    ]
    return msgspec.structs.replace(plan, pools=()), pools
