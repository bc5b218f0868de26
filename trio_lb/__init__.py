"""trio-lb: an L7 HTTP load balancer on Trio.

```
async with trio_lb.open_load_balancer("profile.yaml") as lb:
    print(lb.addresses)
    await trio.sleep_forever()
```
"""

from __future__ import annotations

# Nothing is imported before it is needed: Ctrl-C is not silent before `__main__.main` runs.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from .errors import ListenError, TrioLBError
    from .load_balancer import LoadBalancer, open_load_balancer
    from .profile import (
        Address,
        HealthCheck,
        Profile,
        ProfileError,
        Server,
        load_profile,
        parse_profile,
    )
    from .report.statistics import ServerStatistics, Statistics, WorkerStatistics

__all__ = [
    "Address",
    "HealthCheck",
    "ListenError",
    "LoadBalancer",
    "Profile",
    "ProfileError",
    "Server",
    "ServerStatistics",
    "Statistics",
    "TrioLBError",
    "WorkerStatistics",
    "__version__",
    "load_profile",
    "open_load_balancer",
    "parse_profile",
]

_HOMES = {
    "Address": "profile",
    "HealthCheck": "profile",
    "ListenError": "errors",
    "LoadBalancer": "load_balancer",
    "Profile": "profile",
    "ProfileError": "profile",
    "Server": "profile",
    "ServerStatistics": "report.statistics",
    "Statistics": "report.statistics",
    "TrioLBError": "errors",
    "WorkerStatistics": "report.statistics",
    "load_profile": "profile",
    "open_load_balancer": "load_balancer",
    "parse_profile": "profile",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `trio-lb --version` needs no Trio."""
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("trio-lb")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
