"""Active health checks: one Trio task per server."""

from .checker import HealthChecker

__all__ = ["HealthChecker"]
