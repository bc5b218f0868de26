"""git over HTTP: large gzipped uploads, chunked or not, and answers made by a CGI program."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from tests.support.balancer import open_balancer, states
from tests.support.net import free_port, http_url
from tests.support.process import needs, run_process, wait_listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

#: git takes what the user has set from here.
ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": "x@y.z"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


async def git(*arguments: str, cwd: Path) -> str:
    done = await trio.run_process(
        ["git", "-c", "init.defaultBranch=main", *arguments],
        cwd=cwd, env=ENVIRONMENT, capture_stdout=True, capture_stderr=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


@asynccontextmanager
async def run_git_server(directory: Path) -> AsyncIterator[str]:
    """Serves the repositories below `directory` by lighttpd and `git http-backend`."""
    port = free_port()
    backend = await git("--exec-path", cwd=directory)
    configuration = directory / "lighttpd.conf"
    configuration.write_text(f"""
server.port = {port}
server.bind = "127.0.0.1"
server.document-root = "{directory}"
server.upload-dirs = ("{directory}")
server.modules = ("mod_setenv", "mod_alias", "mod_cgi")
alias.url = ("/git" => "{backend}/git-http-backend")
setenv.add-environment = ("GIT_PROJECT_ROOT" => "{directory}", "GIT_HTTP_EXPORT_ALL" => "1")
$HTTP["url"] =~ "^/git" {{ cgi.assign = ("" => "") }}
""")
    async with run_process(["lighttpd", "-D", "-f", configuration]) as child:
        url = http_url("127.0.0.1", port)
        await wait_listening(url, child)
        yield url


@needs("git", "lighttpd")
async def test_git(tmp_path: Path) -> None:
    served, ours, theirs = tmp_path / "served", tmp_path / "ours", tmp_path / "theirs"
    served.mkdir()
    await git("init", "--bare", "-q", "project.git", cwd=served)
    await git("config", "http.receivepack", "true", cwd=served / "project.git")
    async with (
        run_git_server(served) as server,
        open_balancer(server, health_check={"path": "/", "statuses": "200-499"}) as balancer,
    ):
        url = f"{balancer.addresses[0]}/git/project.git"
        await git("clone", "-q", url, "ours", cwd=tmp_path)
        (ours / "small").write_text("hello")
        # Does not compress, and is larger than http.postBuffer: goes up in chunks.
        (ours / "large").write_bytes(os.urandom(3 * 1024 * 1024))
        await git("add", ".", cwd=ours)
        await git("commit", "-q", "-m", "all", cwd=ours)
        await git("push", "-q", "origin", "HEAD:main", cwd=ours)
        await git("clone", "-q", "-b", "main", url, "theirs", cwd=tmp_path)
        for name in ("small", "large"):
            assert (theirs / name).read_bytes() == (ours / name).read_bytes()
        (theirs / "small").write_text("goodbye")
        await git("commit", "-q", "-a", "-m", "more", cwd=theirs)
        await git("push", "-q", "origin", "HEAD:main", cwd=theirs)
        await git("pull", "-q", "origin", "main", cwd=ours)
        assert (ours / "small").read_text() == "goodbye"
        assert states(balancer) == ["alive"]
        assert balancer.statistics().servers[0].failed == 0
