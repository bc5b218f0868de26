"""Becoming another user, in a process of its own: there is no way back."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest

from trio_lb.supervise.privileges import PrivilegeError, User, drop_privileges, find_user

ROOT: Final = Path(__file__).parents[3]
SOMEBODY: Final = next((each for each in pwd.getpwall() if each.pw_name == "nobody"), None)
OTHER_GROUP: Final = next((each for each in grp.getgrall() if each.gr_name == "daemon"), None)

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or SOMEBODY is None or OTHER_GROUP is None,
    reason="only root can become another user, and these have to exist",
)


def _run(code: str) -> list[str]:
    """What a process of its own says; the Python installation may be closed to others than root."""
    head = (
        "import os, sys\n"
        "from trio_lb.supervise.privileges import PrivilegeError, drop_privileges, find_user\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_users_are_looked_up() -> None:
    me = pwd.getpwuid(os.getuid())
    group = grp.getgrall()[-1]
    groups = tuple(os.getgrouplist(me.pw_name, me.pw_gid))
    assert find_user(me.pw_name) == User(me.pw_name, me.pw_uid, me.pw_gid, groups)
    found = find_user(f"{me.pw_name}:{group.gr_name}")
    groups = tuple(os.getgrouplist(me.pw_name, group.gr_gid))
    assert found == User(me.pw_name, me.pw_uid, group.gr_gid, groups)
    with pytest.raises(PrivilegeError, match=r"^user: there is no user 'no-such-user' on"):
        find_user("no-such-user")
    with pytest.raises(PrivilegeError, match=r"^user: there is no group 'no-such-group' on"):
        find_user(f"{me.pw_name}:no-such-group")


def test_nothing_happens_to_who_is_that_user_already() -> None:
    before = os.getresuid(), os.getresgid(), os.getgroups()
    drop_privileges(User("me", os.getuid(), os.getgid(), ()))
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before


@needs_root
@pytest.mark.parametrize("group", ["", ":daemon"])
def test_root_becomes_somebody(group: str) -> None:
    assert SOMEBODY is not None
    assert OTHER_GROUP is not None
    uids, gids, groups, *refused = _run(f"""
        drop_privileges(find_user("nobody{group}"))
        print(os.getresuid())
        print(os.getresgid())
        print(os.getgroups())
        for regain in (os.setuid, os.seteuid, os.setgid, os.setegid):
            try:
                regain(0)
            except PermissionError:
                print("refused")
        try:
            os.setgroups([0])
        except PermissionError:
            print("refused")
        """)
    gid = OTHER_GROUP.gr_gid if group else SOMEBODY.pw_gid
    assert uids == str((SOMEBODY.pw_uid,) * 3)
    assert gids == str((gid,) * 3)
    assert groups == str([gid])
    assert refused == ["refused"] * 5


@needs_root
def test_what_was_opened_before_stays() -> None:
    said = _run("""
        import encodings.idna, socket
        try:
            sock = socket.create_server(("127.0.0.1", 81))
        except OSError:
            sys.exit(print("in use"))
        drop_privileges(find_user("nobody"))
        with socket.create_connection(("127.0.0.1", 81)):
            sock.accept()[0].close()
            print("accepted")
        sock.close()
        """)
    assert said in (["accepted"], ["in use"])


@needs_root
def test_who_is_not_root_is_told() -> None:
    said = _run("""
        drop_privileges(find_user("nobody"))
        try:
            drop_privileges(find_user("daemon"))
        except PrivilegeError as error:
            print(error)
        """)
    assert said == ["user: only root can become daemon: start trio-lb as root, or without user"]


@needs_root
def test_what_the_system_refuses_is_told_in_a_line() -> None:
    """A number that this user namespace has no place for, more groups than there may be, ..."""
    said = _run("""
        import errno
        for name in ("setgroups", "setgid", "setuid"):
            real = getattr(os, name)
            def refuse(_):
                raise OSError(errno.EINVAL, "Invalid argument")
            setattr(os, name, refuse)
            try:
                drop_privileges(find_user("nobody"))
            except PrivilegeError as error:
                print(error)
            setattr(os, name, real)
        """)
    assert said == ["user: cannot become nobody: Invalid argument"] * 3


@needs_root
def test_a_user_that_is_still_root_is_refused() -> None:
    said = _run("""
        try:
            drop_privileges(find_user("root:daemon"))
        except PrivilegeError as error:
            print(error)
        """)
    assert said == ["user: root privileges could be regained after becoming root"]
