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

    from .config import (
        Address,
        HealthCheck,
        Profile,
        ProfileError,
        Server,
        load_profile,
        parse_profile,
    )
    from .errors import ListenError, TrioLBError
    from .observe.statistics import ServerStatistics, Statistics, WorkerStatistics
    from .runtime.load_balancer import LoadBalancer, open_load_balancer

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
    "Address": "config",
    "HealthCheck": "config",
    "ListenError": "errors",
    "LoadBalancer": "runtime.load_balancer",
    "Profile": "config",
    "ProfileError": "config",
    "Server": "config",
    "ServerStatistics": "observe.statistics",
    "Statistics": "observe.statistics",
    "TrioLBError": "errors",
    "WorkerStatistics": "observe.statistics",
    "load_profile": "config",
    "open_load_balancer": "runtime.load_balancer",
    "parse_profile": "config",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `trio-lb --version` needs no Trio."""
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version  # which would cost each process 1.5 MiB

        return version("trio-lb")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
