"""CPUs and file descriptors: what there is, and whether it suffices."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import structs

from trio_lb.config import Limits, override, parse_profile
from trio_lb.supervise.limits import descriptor_warning, descriptors_needed, worker_count

if TYPE_CHECKING:
    import pytest

ROOT: Final = Path(__file__).parents[3]


def _run(code: str) -> str:
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environ, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def test_workers() -> None:
    profile = parse_profile("servers: http://a")
    assert worker_count(profile) == len(os.sched_getaffinity(0))
    assert worker_count(override(profile, workers=7)) == 7


def test_auto_is_the_cpus_that_may_be_used() -> None:
    said = _run(
        "import os\n"
        "from trio_lb.config import parse_profile\n"
        "from trio_lb.supervise.limits import worker_count\n"
        "profile = parse_profile('servers: http://a')\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "print(worker_count(profile))\n"
    )
    assert said == "1\n"


def test_auto_where_affinity_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = parse_profile("servers: http://a")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5000)
    assert worker_count(profile) == 256
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert worker_count(profile) == 1


def test_the_limit_is_raised_to_the_hard_one_and_inherited() -> None:
    said = _run(
        "import resource, subprocess\n"
        "from trio_lb.supervise.limits import raise_descriptor_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 100))\n"
        "print(raise_descriptor_limit())\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
        "print(raise_descriptor_limit(), flush=True)\n"
        "subprocess.run(['sh', '-c', 'ulimit -n'], check=True)\n"
    )
    assert said == "100\n(100, 100)\n100\n100\n"


def test_what_a_profile_needs() -> None:
    unlimited = "servers: [http://a, http://b]\nworkers: 1\nupstream: {idle_connections: 10}"
    reserve = descriptors_needed(parse_profile(unlimited)) - 2 * 10 - 1
    assert 0 < reserve < 100
    limited = parse_profile(
        "listen: [http://:1, http://:2]\n"
        "servers: [{url: http://a, max_connections: 300}, {url: http://b, max_connections: 50},"
        " http://c]\n"
        "upstream: {idle_connections: 10}\nworkers: 4"
    )
    # Each request has a client and a server, 10 idle connections for each server; 2 addresses, for
    # each of which 4 workers have a socket.
    assert descriptors_needed(limited) == 2 * 350 + 3 * 10 + 2 * 4 + reserve
    # Clients that may be there, be they idle, count as well.
    for clients, needed in ((1000, 1000), (200, 350)):
        profile = structs.replace(limited, limits=Limits(clients=clients))
        assert descriptors_needed(profile) == (needed + 350 + 3 * 10 + 2 * 4 + reserve)


def test_a_limit_that_does_not_suffice_is_told() -> None:
    profile = parse_profile("servers: {url: http://a, max_connections: 1000}")
    needed = descriptors_needed(profile)
    assert descriptor_warning(profile, needed) is None
    assert descriptor_warning(profile, resource.RLIM_INFINITY) is None
    told = descriptor_warning(profile, needed - 1)
    assert told is not None
    assert told.startswith(f"a worker may need {needed} open files, and {needed - 1} are allowed: ")
