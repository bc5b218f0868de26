"""`user` as a program meets it: who is root says so, who can't become somebody is told why."""

from __future__ import annotations

import os
import pwd
import signal
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.process import ROOT, run_balancer
from tests.support.supervised import until, write_profile

if TYPE_CHECKING:
    from pathlib import Path

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
        await child.wait_line("running as root, and so do the workers.*: write `user: NAME`")
        await child.wait_line("listening on", within=20)
        child.signal(signal.SIGTERM)
        assert await child.wait() == 0


@needs_root
async def test_a_user_that_cannot_be_had_is_one_line_and_2(tmp_path: Path) -> None:
    write_profile(tmp_path / "config.yaml", ["http://127.0.0.1:1"], user="nobody")
    env = environment(tmp_path, "refused")
    async with run_balancer("start", cwd=tmp_path, env=env) as child:
        assert await child.wait() == 2
    assert child.lines == ["trio-lb: user: cannot become nobody: Invalid argument"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_start_that_waits_for_the_database_of_users(
    number: signal.Signals, tmp_path: Path
) -> None:
    write_profile(tmp_path / "config.yaml", ["http://127.0.0.1:1"], user="nobody")
    async with run_balancer("start", cwd=tmp_path, env=environment(tmp_path, "slow")) as child:
        await until((tmp_path / "asked").exists)
        child.signal(number)
        assert await child.wait(within=5) in {1, -number}
