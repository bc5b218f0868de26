"""Clients as they are installed elsewhere, before a balancer in the test's process."""

from __future__ import annotations

import http.client
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import asked, besides_checks, open_balancer
from tests.support.peers import PACED
from tests.support.process import needs, run_nginx

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.backend import Exchange

BODY = b"".join(b"%07d\n" % number for number in range(50_000))


async def reflect(exchange: Exchange) -> None:
    """The body comes back, with the status that the path says."""
    body = await exchange.read_body()
    status = exchange.request.target.strip("/")
    await exchange.respond(body, int(status) if status.isdigit() else 200)


async def run(*command: str | Path) -> str:
    done = await trio.run_process(
        command, capture_stdout=True, capture_stderr=True, stdin=b"", check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@needs("curl")
async def test_curl(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY)
    async with (
        open_backend(besides_checks(reflect)) as backend,
        open_balancer(backend.url, listen=["http://127.0.0.1:0", f"unix:{tmp_path}/s"]) as balancer,
    ):
        url = balancer.addresses[0]
        curl = ("curl", "-sS", "--max-time", "10")
        codes = await run(*curl, "-w", "%{http_code} %{num_connects}\n", url, f"{url}/404")
        assert codes == "200 1\n404 0\n"  # one connection for both
        sent = str(tmp_path / "body")
        for options in (
            ("--data-binary", f"@{sent}"),  # with Expect: 100-continue, as it is large
            ("--data-binary", f"@{sent}", "-H", "Transfer-Encoding: chunked"),
            ("-T", sent),
        ):
            await run(*curl, *options, "-o", str(tmp_path / "got"), url)
            assert (tmp_path / "got").read_bytes() == BODY
        assert (await run(*curl, "--http1.0", "-d", "hello", url)) == "hello"
        assert "HTTP/1.1 200 OK" in await run(*curl, "-I", url)
        assert (await run(*curl, "--unix-socket", f"{tmp_path}/s", "-d", "x", "http://a/")) == "x"
        last = asked(backend)[-1]
        assert (last.header("host"), last.header("x-forwarded-for")) == ("a", "unknown")


@needs("curl", "nginx")
async def test_a_download_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(BODY)
    (tmp_path / "got").write_bytes(BODY[:100_000])
    async with (
        run_nginx(tmp_path, f"root {tmp_path};") as url,
        open_balancer(url, health_check={"path": "/file"}) as balancer,
    ):
        source = f"{balancer.addresses[0]}/file"
        options = ("-C", "-", "-w", "%{http_code} %{size_download}", "-o", str(tmp_path / "got"))
        told = await run("curl", "-sS", "--max-time", "10", *options, source)
        assert told == f"206 {len(BODY) - 100_000}"
        assert (tmp_path / "got").read_bytes() == BODY


@needs("ab")
async def test_ab() -> None:
    async with (
        open_backend(besides_checks(scripts.answer(b"hello"))) as backend,
        open_balancer(backend.url) as balancer,
    ):
        for keep_alive in ((), ("-k",)):
            output = await run(
                "ab", "-q", *keep_alive, "-n", "300", "-c", "10", f"{balancer.addresses[0]}/"
            )
            assert re.search(r"Complete requests: +300\n", output)
            assert re.search(r"Failed requests: +0\n", output)
            assert "Non-2xx" not in output
            # It speaks HTTP/1.0, where h11 ends each connection: slower, and right.
            assert re.search(r"Document Length: +5 bytes\n", output)
        assert len(asked(backend)) >= 600


@needs("wrk")
async def test_wrk() -> None:
    async with (
        open_backend(besides_checks(scripts.answer(b"hello"))) as backend,
        open_balancer(backend.url) as balancer,
    ):
        output = await run(
            "wrk", "-t", "1", "-c", "16", "-d", "1s", "-s", PACED, balancer.addresses[0]
        )
        assert "Socket errors" not in output
        assert "Non-2xx" not in output
        assert int((re.search(r"(\d+) requests in", output) or [0, 0])[1]) > 100
        assert balancer.statistics().servers[0].failed == 0


async def test_http_client_of_python_keeps_its_connection() -> None:
    def talk(port: int) -> list[tuple[int, bytes]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.connect()
        sock = connection.sock
        answers = []
        for method, target, body in (
            ("GET", "/", None),
            ("POST", "/", BODY),
            ("PUT", "/404", b"x"),
            ("HEAD", "/", None),
            ("POST", "/", iter([b"chunked ", b"upload"])),
        ):
            connection.request(method, target, body)
            response = connection.getresponse()
            answers.append((response.status, response.read()))
            assert connection.sock is sock, "it was closed in between"
        connection.close()
        return answers

    async with (
        open_backend(besides_checks(reflect)) as backend,
        open_balancer(backend.url) as balancer,
    ):
        port = urlsplit(balancer.addresses[0]).port
        assert port is not None
        assert await trio.to_thread.run_sync(talk, port) == [
            (200, b""), (200, BODY), (404, b"x"), (200, b""), (200, b"chunked upload"),
        ]  # fmt: skip
        assert balancer.statistics().client_connections_total == 1
