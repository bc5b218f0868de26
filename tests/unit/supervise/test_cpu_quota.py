"""Quotas of control groups, as /proc and the mounted groups show them; no real group is needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from trio_lb.config import parse_profile
from trio_lb.supervise import limits
from trio_lb.supervise.cpu_quota import cpu_quota

if TYPE_CHECKING:
    from pathlib import Path

V2 = "30 23 0:26 {top} {at} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "32 31 0:29 {top} {at} rw,relatime - cgroup cgroup rw,{controllers}"


def system(root: Path, cgroup: str, *mounts: str, **files: str) -> Path:
    """A system's files; keys are paths with two underscores for a slash, one dot for `cpu_`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    (root / "proc/self/mountinfo").write_text("\n".join(mounts) + "\n")
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("cpu_", "cpu.", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v2(root: Path, ours: str, top: str = "/", **files: str) -> Path:
    return system(root, f"0::{ours}\n", V2.format(top=top, at="/cg"), **files)


def test_none(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    assert cpu_quota(v2(tmp_path, "/a", cg__a__cpu_max="max 100000\n")) is None


@pytest.mark.parametrize(
    ("ours", "files"),
    [
        ("/a/b", {"cg__a__b__cpu_max": "150000 100000\n"}),
        ("/a/b", {"cg__a__cpu_max": "75000 50000\n", "cg__a__b__cpu_max": "max 100000\n"}),
        ("/a/b", {"cg__a__cpu_max": "150000 100000\n", "cg__a__b__cpu_max": "400000 100000\n"}),
        ("/", {"cg__cpu_max": "150000 100000\n"}),  # a container that sees its own group as root
        ("/a/b:c", {"cg__a__b:c__cpu_max": "150000 100000\n"}),
    ],
)
def test_version_2(ours: str, files: dict[str, str], tmp_path: Path) -> None:
    assert cpu_quota(v2(tmp_path, ours, **files)) == 1.5


def test_a_container_without_a_namespace_of_its_own(tmp_path: Path) -> None:
    files = {"cg__cpu_max": "150000 100000\n"}
    assert cpu_quota(v2(tmp_path / "a", "/docker/1", "/docker/1", **files)) == 1.5
    assert cpu_quota(v2(tmp_path / "b", "/other", "/docker/1", **files)) == 1.5
    assert cpu_quota(v2(tmp_path / "c", "/../x", **files)) is None


def test_version_1(tmp_path: Path) -> None:
    mounts = (
        V1.format(top="/", at="/cg/cpuset", controllers="cpuset"),
        V1.format(top="/", at="/cg/a\\040b", controllers="cpu,cpuacct"),
    )
    group = "9:name=systemd:/\n3:cpuset:/x\n2:cpu,cpuacct:/x/y\n0::/\n"
    period = {"cg__a b__x__cpu_cfs_period_us": "50000\n"}
    root = system(tmp_path / "a", group, *mounts, **period, **{
        "cg__a b__x__cpu_cfs_quota_us": "125000\n",
        "cg__a b__x__y__cpu_cfs_quota_us": "-1\n",
    })  # fmt: skip
    assert cpu_quota(root) == 2.5
    unlimited = {"cg__a b__x__cpu_cfs_quota_us": "-1\n"}
    assert cpu_quota(system(tmp_path / "b", group, *mounts, **period, **unlimited)) is None


@pytest.mark.parametrize("text", ["", "nonsense", "1 0\n", "-5 100000", "0 100000", "max"])
def test_what_is_not_known_is_no_quota(text: str, tmp_path: Path) -> None:
    files = {"cg__cpu_max": "200000 100000\n", "cg__a__cpu_max": text}
    assert cpu_quota(v2(tmp_path, "/a", **files)) == 2


@pytest.mark.parametrize(
    ("quota", "workers"), [(0.1, 1), (1.0, 1), (1.01, 2), (1.5, 2), (64.0, 4), (None, 4)]
)
def test_workers_are_as_many_as_a_quota_is_worth(
    quota: float | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(limits, "cpu_quota", lambda: quota)
    assert limits.worker_count(parse_profile("servers: http://a")) == workers
