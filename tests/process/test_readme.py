"""The README's first steps as they stand: its profile, its commands, an application like any."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.support.backend import Exchange, open_backend
from tests.support.client import request
from tests.support.net import free_port
from tests.support.process import run_balancer, wait_listening

README = (Path(__file__).parents[2] / "README.md").read_text()


async def application(exchange: Exchange) -> None:
    """It has one page, and none by the name of /health."""
    found = exchange.request.target == "/"
    await exchange.respond(b"hello" if found else b"no", 200 if found else 404)


def commands(name: str) -> list[list[str]]:
    """The README's commands of this name, each in words."""
    lines = re.findall(rf"^trio-lb ({name}\b.*)$", README, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


async def test_the_first_profile_and_its_commands_work_as_they_stand(tmp_path: Path) -> None:
    """Other ports only, and a runtime directory: those of the README may be in use here."""
    (profile,) = re.findall(r"^```yaml\n# x.yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    port = free_port()
    (tmp_path / "run").mkdir(mode=0o700)
    env = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    async with open_backend(application) as one, open_backend(application) as two:
        for written, real in {8000: port, 3001: one.port, 3002: two.port}.items():
            assert f":{written}" in profile
            profile = profile.replace(f":{written}", f":{real}")
        (tmp_path / "x.yaml").write_text(profile)
        url = f"http://127.0.0.1:{port}"
        start, *_ = commands("start")
        assert start == ["start", "x.yaml"]
        async with run_balancer(*start, cwd=tmp_path, env=env) as balancer:
            await wait_listening(url, balancer)
            await balancer.wait_line("listening on .* 2 alive")  # not the unix socket, of course
            assert [(await request(url)).status for _ in range(4)] == [200] * 4
            for words in [*commands("check"), *commands("reload"), *commands("stop")]:
                async with run_balancer(
                    *words[: words.index(">")] if ">" in words else words, cwd=tmp_path, env=env
                ) as command:
                    assert await command.wait() == 0, command.output
            assert await balancer.wait() == 0
