"""Profiles with a slip of the pen: at a reload and at the start (row 23)."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from typing import TYPE_CHECKING, NoReturn

import pytest
import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import besides_checks
from tests.support.client import request
from tests.support.load import Load
from tests.support.net import http_url
from tests.support.process import run_balancer
from tests.support.supervised import run_supervisor, until, write_profile
from trio_lb.cli import main

if TYPE_CHECKING:
    from pathlib import Path

S = "servers: http://127.0.0.1:3001\n"

#: What is wrong, the file, and where and what the error says.
TYPOS = {
    "an unknown key": (S + "retires: 3", '2:1: retires: .*"retries"'),
    "an unknown key below": (S + "health_check:\n  intervall: 3s", "3:3: health_check.intervall"),
    "a key twice": (S + S, r"2:1: servers: .*\(first at 1:1\)"),
    "a bad port": (S + "listen: http://127.0.0.1:99999", "2:9: listen.*a port from 1 to 65535"),
    "a bad address": ("servers: http://127.0.0.256:80", "1:10: servers.*an IPv4 address"),
    "no scheme": ("servers: 127.0.0.1:3001", '1:10: .*did you mean "http://127'),
    "the same name twice": (
        "servers:\n- {url: http://a, name: x}\n- {url: http://b, name: x}",
        r"3:3: servers\[1\]: .*already used by servers\[0\]",
    ),
    "the same server twice": ("servers: [http://a, http://a:80]", r"1:21: servers\[1\]: .*already"),
    "no servers": ("listen: http://127.0.0.1:8000", "1:1: servers: missing"),
    "an empty pool": ("servers: []", "1:10: servers: .*at least one"),
    "itself": ("listen: http://a:80\nservers: http://a", "2:10: .*this load balancer listens"),
    "a word for a number": (S + "workers: many", "2:10: workers: .*a whole number"),
    "a number out of range": ("servers: {url: http://a, weight: -1}", "1:34: .*from 1 to 65535"),
    "a duration without sense": (S + "timeout: 10x", "2:10: timeout: .*such as 250ms"),
    "a size without sense": (S + "limits: {head: 16 pages}", r"2:16: limits\.head: .*a size"),
    "a mapping for a value": (S + "retries: {a: 1}", "2:10: retries: "),
    "an algorithm that there is not": (S + "algorithm: rond_robin", '2:12: .*"round_robin"'),
    "a page that is not there": (S + "error_pages: {503: nope.html}", "2:20: .*no such file"),
    "a variable that is not set": ("servers: http://a:${NOPE_NOT_SET}", "1:10: .*NOPE_NOT_SET"),
    "an open list": ("servers: [http://a\ntimeout: 3", "2:8: .*list that begins at 1:10"),
    "two addresses": ("servers: http://a http://b", "1:10: servers: expected one address here"),
    "a space in between": (S + "listen: http://:80 unix:/x", r"2:9: listen: .*as a list, \[a, b\]"),
    "no space": ("servers:\n- url:http://a", r'2:3: servers\[0\]: expected a space after "url:"'),
    "no space on top": ("listen:http://:80\n" + S, '1:1: expected a space after "listen:"'),
    "no space, alone": ("servers:http://a", '1:1: expected a space after "servers:"'),
    "no space below": (
        "servers:\n- url: http://a\n  weight:3\n",
        '3:3: expected a space after "weight:"',
    ),
    "no space in braces": (
        "servers: {url: http://a, weight:3}",
        r'1:26: servers: expected a space after "weight:"',
    ),
    "a default in a default": (
        S + "retries: ${A:-${B}}",
        r"2:10: retries: a default cannot contain another \$",
    ),
    "a log that can't be": (S + "access_log: /no/where.log", "2:13: access_log: .*no such direc"),
    "a log that is a directory": (S + "access_log: /tmp", "2:13: access_log: .*is a directory"),
    "a pid file nowhere": (S + "pid_file: /no/x.pid", "2:11: pid_file: .*no such directory"),
    "nobody's user": (S + "user: no-such-user", '2:7: user: .*knows, got "no-such-user"'),
    "nobody's group": (S + "user: root:no-such-group", "2:7: user: expected a NAME or NAME:GROUP"),
    "a tab": ("servers:\n\t- http://a", "2:1: .*tab"),
    "bad UTF-8": (S + "access_log: \xff", "2:13: .*UTF-8"),
    "nothing": ("", "1:1: the profile is empty"),
}  # fmt: skip


#: Neither can be changed by a reload.
AT_START = {"a pid file nowhere", "nobody's user", "nobody's group"}


@pytest.mark.parametrize("what", TYPOS)
@pytest.mark.parametrize("command", [["check"], ["start"], ["start", "-p"]])
def test_row_23_a_typo_is_told_with_its_place_and_nothing_is_bound(
    command: list[str],
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By `check` and by `start`, with exit code 2 (the bar: 1)."""

    def bound(*_: object) -> NoReturn:
        raise AssertionError("bound half-way")

    monkeypatch.setattr(socket.socket, "bind", bound)
    text, problem = TYPOS[what]
    profile = tmp_path / "x.yaml"
    profile.write_bytes(text.encode("latin-1"))
    assert main([*command, str(profile)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert re.search(rf"^{re.escape(str(profile))}:{problem}", output.err, re.MULTILINE), output.err
    assert "Traceback" not in output.err


async def test_row_23_no_typo_changes_anything_at_a_reload(tmp_path: Path) -> None:
    """Scale: each of them once, under load, then no file, a directory, and the right one again."""
    async with (
        open_backend(besides_checks(scripts.answer())) as backend,
        run_supervisor(tmp_path, backend.url) as balancer,
    ):
        child, pids, profile = balancer.child, balancer.pids, balancer.profile
        load = Load(balancer.url, clients=4, pause=0.002)

        async def refused(problem: str) -> None:
            child.signal(signal.SIGHUP)
            await child.wait_line(f"ERROR .*{problem}")
            await child.wait_line("ERROR .*nothing was changed")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 60.0)
            for what, (text, problem) in TYPOS.items():
                if what in AT_START:
                    continue
                profile.write_bytes(text.encode("latin-1"))
                await refused(rf"config\.yaml:{problem}")
            profile.unlink()
            child.signal(signal.SIGHUP)
            await child.wait_line("ERROR .*no config.yaml in this directory.*: nothing was changed")
            profile.mkdir()
            child.signal(signal.SIGHUP)
            await child.wait_line(r"ERROR .*config\.yaml.*[Dd]irectory")
            await child.wait_line("ERROR .*nothing was changed")
            so_far = len(load.results)
            await until(lambda: len(load.results) > so_far + 20)
            load.stop()
        assert not load.failures
        assert balancer.pids == pids
        profile.rmdir()
        balancer.write([backend.url], workers=1)
        child.signal(signal.SIGHUP)
        await child.wait_line("reloaded: 1 server,")
        assert (await request(balancer.url)).status == 200


async def test_row_23_an_address_in_use_leaves_nothing_at_the_start(tmp_path: Path) -> None:
    """A path and a port that could be bound come first. (The bar: exit code 1 within 2 s.)"""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = http_url("127.0.0.1", taken.getsockname()[1])
        write_profile(
            tmp_path / "config.yaml",
            ["http://127.0.0.1:1"],
            listen=[f"unix:{tmp_path}/x.sock", "http://127.0.0.1:0", url],
            pid_file="x.pid",
        )
        started = time.monotonic()
        async with run_balancer("check", cwd=tmp_path) as check:
            assert await check.wait() == 0
        base = time.monotonic() - started
        async with run_balancer("start", cwd=tmp_path) as child:
            assert await child.wait() == 1
        took = time.monotonic() - started - base
    assert took < max(2, 4 * base), "it waited for something"
    assert child.lines == [f"trio-lb: cannot listen on {url}: Address already in use"]
    assert os.listdir(tmp_path) == ["config.yaml"]
