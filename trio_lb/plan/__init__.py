"""The plan of a load balancer: typed, frozen, and independent of how a profile is written.

`trio_lb.config` compiles a profile into a `Plan`, once, and workers get it in a message. Components
take the part that they need, not the whole. Times are seconds, sizes are bytes; no limit is None.
"""

from trio_lb.plan.address import ANY_HOST, Address
from trio_lb.plan.algorithm import Algorithm
from trio_lb.plan.clients import (
    ClientLimits,
    ClientPlan,
    ClientTimeouts,
    ConnectionLimits,
    ForwardedField,
    IdentityPlan,
    TrustedNetwork,
)
from trio_lb.plan.plan import AccessLogPlan, ListenerPlan, Plan
from trio_lb.plan.pools import HealthCheckPlan, PoolPlan, ServerPlan, UpstreamSettings
from trio_lb.plan.routes import ErrorPage, RoutePlan, RouteTimeouts, TunnelTimeouts

__all__ = [
    "ANY_HOST",
    "AccessLogPlan",
    "Address",
    "Algorithm",
    "ClientLimits",
    "ClientPlan",
    "ClientTimeouts",
    "ConnectionLimits",
    "ErrorPage",
    "ForwardedField",
    "HealthCheckPlan",
    "IdentityPlan",
    "ListenerPlan",
    "Plan",
    "PoolPlan",
    "RoutePlan",
    "RouteTimeouts",
    "ServerPlan",
    "TrustedNetwork",
    "TunnelTimeouts",
    "UpstreamSettings",
]
