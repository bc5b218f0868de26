"""`user` as a program meets it: who is root says so, who can't become somebody is told why."""

from __future__ import annotations

import os
import pwd
import signal
import stat
from pathlib import Path
from typing import Final

import pytest

from tests.support.process import ROOT, run_balancer
from tests.support.supervised import until, write_profile

SOMEBODY: Final = next((each for each in pwd.getpwall() if each.pw_name == "nobody"), None)
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or SOMEBODY is None, reason="only root can become another user"
)

#: What the interpreter does first: as if the system's databases of users were slow, or the system
#: had no place for the user.
SITECUSTOMIZE: Final = """\
import os, pwd, sys, time
if "start" in sys.argv:
    real = pwd.getpwnam
    def slow(name):
        open("asked", "w").close()
        time.sleep(1000)
    def refuse(groups):
        raise OSError(22, "Invalid argument")
    if os.environ.get("SPOILED") == "slow":
        pwd.getpwnam = slow
    elif os.environ.get("SPOILED") == "refused":
        os.setgroups = refuse
"""


def environment(directory: Path, spoiled: str) -> dict[str, str]:
    (directory / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return {"PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)]), "SPOILED": spoiled}


@needs_root
async def test_root_that_stays_root_is_told_what_to_write(tmp_path: Path) -> None:
    write_profile(tmp_path / "config.yaml", ["http://127.0.0.1:1"], workers=1)
    async with run_balancer("start", cwd=tmp_path) as child:
        await child.wait_line("running as root, and so do the workers.*: set `user: NAME`")
        await child.wait_line("listening on")
        child.signal(signal.SIGTERM)
        assert await child.wait() == 0


@needs_root
async def test_a_user_that_cannot_be_had_is_one_line_and_2(tmp_path: Path) -> None:
    write_profile(tmp_path / "config.yaml", ["http://127.0.0.1:1"], user="nobody")
    env = environment(tmp_path, "refused")
    async with run_balancer("start", cwd=tmp_path, env=env) as child:
        assert await child.wait() == 2
    assert child.lines == ["trio-lb: user: cannot become nobody: Invalid argument"]


@needs_root
@pytest.mark.parametrize("group", [None, "34"])
async def test_unix_sockets_are_the_users(group: str | None, tmp_path: Path) -> None:
    """Whether or not that one may read the installation, so that workers can start."""
    assert SOMEBODY is not None
    listen = {"url": f"unix:{tmp_path}/x.sock", "group": group}
    servers = ["http://127.0.0.1:1"]
    write_profile(
        tmp_path / "config.yaml", servers, user="nobody", listen=listen, health_check="off"
    )
    async with run_balancer("start", cwd=tmp_path) as child:
        await until(lambda: Path(f"/proc/{child.pid}").stat().st_uid == SOMEBODY.pw_uid)
        status = (tmp_path / "x.sock").stat()
        assert status.st_uid == SOMEBODY.pw_uid
        assert status.st_gid == (SOMEBODY.pw_gid if group is None else int(group))
        assert stat.S_IMODE(status.st_mode) == 0o660
        child.signal(signal.SIGTERM)
        assert await child.wait() in {0, 1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_start_that_waits_for_the_database_of_users(
    number: signal.Signals, tmp_path: Path
) -> None:
    write_profile(tmp_path / "config.yaml", ["http://127.0.0.1:1"], user="nobody")
    async with run_balancer("start", cwd=tmp_path, env=environment(tmp_path, "slow")) as child:
        await until((tmp_path / "asked").exists)
        child.signal(number)
        assert await child.wait() in {1, -number}
