"""For all tests: hypothesis on machines that are slow, or busy with something else."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For a build that is many times slower, which is run to see what is reached (scripts/coverage.py).
settings.register_profile("traced", settings.get_profile("here"), max_examples=25)
settings.load_profile(os.environ.get("TRIO_LB_HYPOTHESIS", "here"))
