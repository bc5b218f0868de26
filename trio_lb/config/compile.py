"""A profile compiled to the plan that workers run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_lb.config.pages import read_pages
from trio_lb.config.proxies import format_network
from trio_lb.plan import (
    AccessLogPlan,
    ClientLimits,
    ClientPlan,
    ClientTimeouts,
    ConnectionLimits,
    HealthCheckPlan,
    IdentityPlan,
    ListenerPlan,
    Plan,
    PoolPlan,
    RoutePlan,
    RouteTimeouts,
    ServerPlan,
    TunnelTimeouts,
    UpstreamSettings,
)

if TYPE_CHECKING:
    from trio_lb.config.model import Profile

MAIN: Final = "main"
"""The pool of the servers that a profile names by themselves."""


def compile_plan(profile: Profile) -> Plan:
    """What a profile means, with the error pages that it names.

    Raises:
        ProfileError: one of these can't be read any more.
    """
    return Plan(
        listeners=compile_listeners(profile),
        clients=_clients(profile),
        routes=(_route(profile),),
        pools=(_pool(profile),),
        fast_path=profile.fast_path,
        access_log=_access_log(profile),
        drain_timeout=profile.timeouts.drain,
        log_level=profile.log_level,
    )


def compile_listeners(profile: Profile) -> tuple[ListenerPlan, ...]:
    """Where clients connect: what is needed before the rest, and reads no files."""
    return tuple(
        ListenerPlan(
            address=each.address,
            proxy_protocol=each.proxy_protocol,
            owner=each.owner,
            group=each.group,
            mode=each.mode,
        )
        for each in profile.listen
    )


def _clients(profile: Profile) -> ClientPlan:
    timeouts, limits = profile.timeouts, profile.limits
    return ClientPlan(
        timeouts=ClientTimeouts(
            head=timeouts.client_head,
            body=timeouts.body,
            keep_alive=timeouts.keep_alive,
            half_closed=timeouts.half_closed,
        ),
        limits=ClientLimits(
            head=limits.head,
            fields=limits.headers,
            target=limits.target,
            min_rate=limits.min_rate,
            requests=limits.requests_per_connection,
        ),
        connections=ConnectionLimits(total=limits.clients, per_address=limits.clients_per_address),
        identity=IdentityPlan(
            trusted_proxies=tuple(map(format_network, profile.trusted_proxies or ())),
            forwarded=profile.forwarded,
        ),
    )


def _route(profile: Profile) -> RoutePlan:
    timeouts = profile.timeouts
    return RoutePlan(
        pool=MAIN,
        timeouts=RouteTimeouts(connect=timeouts.connect, response=profile.timeout),
        tunnel=TunnelTimeouts(idle=timeouts.tunnel, half_closed=timeouts.tunnel_half_closed),
        retries=profile.retries,
        body_limit=profile.limits.body,
        replay_body=profile.replay_body,
        unavailable_status=profile.unavailable_status,
        error_pages=read_pages(profile.error_pages, profile.from_environment),
    )


def _pool(profile: Profile) -> PoolPlan:
    upstream = profile.upstream
    return PoolPlan(
        name=MAIN,
        servers=tuple(
            ServerPlan(
                address=server.address,
                name=server.name,
                weight=server.weight,
                max_connections=server.max_connections,
                send_proxy=server.send_proxy,
            )
            for server in profile.servers
        ),
        algorithm=profile.algorithm,
        upstream=UpstreamSettings(
            idle_connections=upstream.idle_connections,
            idle_timeout=upstream.idle_timeout,
            max_age=upstream.max_age,
        ),
        health_check=_health_check(profile),
    )


def _health_check(profile: Profile) -> HealthCheckPlan:
    check = profile.health_check
    return HealthCheckPlan(
        enabled=check.enabled,
        interval=check.interval,
        timeout=check.timeout,
        method=check.method,
        path=check.path,
        host=check.host,
        port=check.port,
        headers=dict(check.headers),
        statuses=tuple((each.start, each.stop - 1) for each in check.statuses),
        rise=check.rise,
        fall=check.fall,
        jitter=check.jitter,
        shown_path=profile.shown("health_check.path"),
        shown_port="" if check.port is None else profile.shown("health_check.port"),
    )


def _access_log(profile: Profile) -> AccessLogPlan | None:
    if profile.access_log is None:
        return None
    return AccessLogPlan(
        path=profile.access_log,
        shown=profile.shown("access_log"),
        form=profile.access_log_format,
    )
