"""What a profile has from the environment is in no line that the processes write."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import besides_checks
from tests.support.client import request
from tests.support.net import free_port, http_url
from tests.support.process import run_balancer, wait_listening
from tests.support.supervised import until

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2"


async def test_secrets_reach_servers_and_no_log_or_report(tmp_path: Path) -> None:
    """One server that answers, one that is dead, a log that can't be written, a wrong reload."""
    path = tmp_path / "x.yaml"
    saved = tmp_path / "saved.jsonl"
    address = http_url("127.0.0.1", free_port())
    dead = free_port()
    async with open_backend(besides_checks(scripts.answer())) as backend:
        profile = f"""\
listen: {address}
servers:
  - {backend.url}/${{SECRET}}
  - http://127.0.0.1:{dead}/${{SECRET}}
health_check: {{interval: 0.2s, statuses: 100-599}}
access_log: ${{HOME}}/${{SECRET}}/access.log
pid_file: ${{SECRET}}.pid
report_interval: 0.2s
workers: 1
"""
        path.write_text(profile)
        (tmp_path / SECRET).mkdir()
        arguments = ("start", "-p", path, "--report", "--save", saved, "--log-level", "debug")
        environ = {"SECRET": SECRET, "HOME": str(tmp_path)}
        async with run_balancer(*arguments, cwd=tmp_path, env=environ) as balancer:
            await wait_listening(address, balancer)
            assert (await request(address)).status == 200
            assert any(SECRET in seen.target for seen in backend.requests)
            await until(lambda: (tmp_path / SECRET / "access.log").exists())
            assert SECRET not in (tmp_path / SECRET / "access.log").read_text()
            path.write_text(profile.replace("statuses: 100-599", "statuses: 299"))
            balancer.signal(signal.SIGHUP)
            await balancer.wait_line(r"GET .*/\$\{SECRET\}/ answered 200")
            path.write_text(profile)
            balancer.signal(signal.SIGHUP)
            await balancer.wait_line("dead -> alive")
            (tmp_path / SECRET / "access.log").unlink()
            (tmp_path / SECRET / "access.log").mkdir()
            assert (await request(address)).status == 200
            await balancer.wait_line(r"access log \$\{HOME\}/\$\{SECRET\}/access.log: ")
            path.write_text(profile.replace("/${SECRET}", ":${SECRET}"))
            balancer.signal(signal.SIGHUP)
            await balancer.wait_line(r'expected an IPv6 .*, got ".*:\$\{SECRET\}"')
            async with run_balancer(*arguments, cwd=tmp_path, env=environ) as second:
                assert await second.wait() != 0
            await until(lambda: saved.stat().st_size)
    assert "${SECRET}" in balancer.output
    assert SECRET not in saved.read_text() + balancer.output + second.output
