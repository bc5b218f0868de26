"""Where a load balancer is found whose profile names no pid file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from trio_lb.supervise import runtime_dir
from trio_lb.supervise.runtime_dir import default_pid_file, possible_pid_files


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No directory but those in here."""
    for name in ("run", "session", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(runtime_dir, "_SYSTEM", str(tmp_path / "run"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "session"))
    return tmp_path


def parent(profile: str) -> Path:
    found = default_pid_file(profile)
    assert found is not None
    return Path(found).parent


def test_root_has_one_for_the_whole_system(
    directories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    if os.getuid() != 0:
        pytest.skip("directories are not root's")
    assert parent("x.yaml") == directories / "run" / "trio-lb"


def test_others_have_that_of_their_session_or_a_private_one(
    directories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = os.getuid() or 1234
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(runtime_dir, "_is_ours", os.path.isdir)
    assert parent("x.yaml") == directories / "session" / "trio-lb"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert parent("x.yaml") == directories / "tmp" / f"trio-lb-{user}"
    assert parent("x.yaml").stat().st_mode & 0o777 == 0o700
    # Who looks may have no session, or another one: it is looked for in all of them.
    (directories / "run" / "user" / str(user) / "trio-lb").mkdir(parents=True)
    found = [Path(each).parent for each in possible_pid_files("x.yaml")]
    assert found == [
        directories / "run" / "user" / str(user) / "trio-lb",
        directories / "tmp" / f"trio-lb-{user}",
    ]


def test_each_profile_has_its_own_by_its_absolute_name(
    directories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directories)
    names = ["x.yaml", "y.yaml", "run/x.yaml", "/x.yaml", "x .yaml", "a" * 300]
    assert len({default_pid_file(name) for name in names}) == len(names)
    same = ["x.yaml", "./x.yaml", "run/../x.yaml", str(directories / "x.yaml")]
    assert len({default_pid_file(name) for name in same}) == 1
    assert all(len(os.path.basename(default_pid_file(name) or "")) < 100 for name in names)


def test_what_others_may_write_in_is_not_used(
    directories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory of that name may have been made by anybody, or be a link to somewhere."""
    used = parent("x.yaml")
    (directories / "elsewhere").mkdir()
    used.rmdir()
    used.symlink_to(directories / "elsewhere")
    assert str(used) not in str(default_pid_file("x.yaml"))
    used.unlink()
    used.mkdir(mode=0o777)
    used.chmod(0o777)
    assert str(used) not in str(default_pid_file("x.yaml"))
    assert not [each for each in possible_pid_files("x.yaml") if str(used) in each]
    used.chmod(0o700)
    assert parent("x.yaml") == used


def test_without_any_there_is_none(directories: Path) -> None:
    for name in ("run", "session", "tmp"):
        (directories / name).rmdir()
    assert default_pid_file("x.yaml") is None
    assert possible_pid_files("x.yaml") == []
