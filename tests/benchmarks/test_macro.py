"""The parts of the whole-process benchmark that read what others say, and run them."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from benchmarks import start
from benchmarks.classes.requests import CLASSES
from benchmarks.floor.build import compiled
from benchmarks.macro import bare_relay, cpu, load, memory, peers
from benchmarks.macro.workloads import WORKLOADS, Workload
from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.client import open_client
from tests.support.net import http_url

if TYPE_CHECKING:
    from pathlib import Path

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="programs in C need gcc")

WRK = """Running 1s test @ http://127.0.0.1:33235/32
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.29ms    1.54ms  17.42ms   86.63%
    Req/Sec    29.06k     4.18k   33.78k    80.00%
  Latency Distribution
     50%  635.00us
     75%    2.42ms
     90%    3.71ms
     99%    1.05s\x20
  28953 requests in 1.00s, 7.59MB read
Requests/sec:  28892.12
Transfer/sec:      7.58MB
"""
FAILURES = """  Socket errors: connect 1, read 20, write 300, timeout 4000
  Non-2xx or 3xx responses: 50000
Requests/sec:"""


def test_wrk_output() -> None:
    result = load.parse_wrk(WRK)
    assert (result.requests, result.requests_per_second, result.errors) == (28953, 28892.12, 0)
    assert result.bytes_read == 7.59 * 1024**2
    assert (result.p50_s, result.p99_s) == pytest.approx((0.000635, 1.05))


def test_wrk_counts_every_kind_of_failure() -> None:
    assert load.parse_wrk(WRK.replace("Requests/sec:", FAILURES)).errors == 54321


def test_wrk_without_a_result() -> None:
    with pytest.raises(load.LoadError, match="unable to connect"):
        load.parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


@pytest.mark.parametrize(
    ("name", "options", "rest"),
    [
        ("32B@64", [], ["/32"]),
        ("POST@64", ["-s", "post.lua"], ["/post", "--", "256"]),
        ("upload@16", ["-s", "post.lua"], ["/upload", "--", "1048576"]),
        ("chunked-upload@16", ["-s", "chunks.lua"], ["/upload", "--", "1048576"]),
        ("close@64", ["-H", "Connection: close"], ["/32"]),
    ],
)
def test_wrk_is_told_what_to_send(
    name: str,
    options: list[str],
    rest: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrk = tmp_path / "wrk"
    wrk.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{tmp_path}/told\ncat <<.\n{WRK}.\n")
    wrk.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert load.run_closed(7, WORKLOADS[name], 1, lambda: None).requests == 28953
    told = (tmp_path / "told").read_text().replace(f"{load.SCRIPTS}/", "").splitlines()
    expected = ["-t1", f"-c{WORKLOADS[name].connections}", "-d1s", "--timeout", "5s", "--latency"]
    path, *arguments = rest
    assert told == [*expected, *options, f"http://127.0.0.1:7{path}", *arguments]


def test_stat_of_a_command_with_parentheses_and_spaces() -> None:
    line = "17 (a) b (c) S 5 17 17 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 99 1 1\n"
    assert cpu.parse_stat(line) == cpu.Stat(pid=17, parent=5, ticks=127)


def test_ticks_of_a_tree_leave_others_out() -> None:
    stats = [cpu.Stat(1, 0, 1), cpu.Stat(4, 3, 1000), cpu.Stat(2, 1, 10), cpu.Stat(3, 2, 100)]
    assert cpu.tree_ticks(2, stats) == 1110
    assert cpu.tree_ticks(9, stats) == 0


def test_cpu_time_of_children_counts_while_they_run_and_afterwards() -> None:
    before = cpu.tree_seconds(os.getpid())
    burn = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ninput()"
    command = [sys.executable, "-c", burn]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert cpu.tree_seconds(os.getpid()) - before >= 0.18  # a tick or two of rounding
    assert cpu.tree_seconds(os.getpid()) - before >= 0.18


def test_memory_is_the_proportional_share() -> None:
    rollup = "5 [rollup]\nRss:   900 kB\nPss:    42 kB\nPss_Dirty:   7 kB\n"
    assert memory.parse_pss(rollup) == 42 * 1024
    with pytest.raises(ValueError, match="no Pss"):
        memory.parse_pss("")


def test_memory_of_children_counts() -> None:
    before = memory.tree_bytes(os.getpid())
    hold = "held = b'x' * 50_000_000\nprint(flush=True)\ninput()"
    command = [sys.executable, "-c", hold]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert memory.tree_bytes(os.getpid()) - before > 40_000_000


def test_a_peer_that_cannot_start_says_why(tmp_path: Path) -> None:
    cores = os.sched_getaffinity(0)
    log = tmp_path / "log"
    fails = [sys.executable, "-c", "print('bad profile\\n\\n'); raise SystemExit(2)"]
    with (
        peers.process(fails, log, cores) as running,
        pytest.raises(peers.PeerError, match="ended with status 2: bad profile"),
    ):
        peers.wait_answering(peers.free_port(), WORKLOADS.values(), running, log)
    with (
        pytest.raises(peers.PeerError, match="no-such-program is not installed"),
        peers.process(["no-such-program"], log, cores),
    ):
        pytest.fail("must not get here")


def test_a_process_runs_on_its_cores_and_ends_when_interrupted(tmp_path: Path) -> None:
    core = {min(os.sched_getaffinity(0))}
    sleeper = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    log = tmp_path / "log"
    started = []

    def measure() -> None:
        with peers.process(sleeper, log, core) as running:
            started.append(running)
            assert os.sched_getaffinity(running.pid) == core
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure()
    assert started[0].returncode == -signal.SIGTERM


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
async def test_a_peer_is_asked_as_it_will_be_loaded(workload: Workload) -> None:
    async with open_backend(scripts.bulk(workload.body)) as good:
        assert await trio.to_thread.run_sync(peers.fetch, good.port, workload) == workload.body
    assert good.requests[0].target == workload.path
    assert good.requests[0].body_size == workload.sent
    chunked = workload.kind == "chunked-upload"
    assert (good.requests[0].header("transfer-encoding") == "chunked") == chunked
    assert (good.requests[0].header("connection") == "close") == (workload.kind == "close")
    async with open_backend(scripts.answer(status=503)) as bad:
        assert await trio.to_thread.run_sync(peers.fetch, bad.port, workload) == -1


async def test_the_relay_relays_in_turn_and_reuses_connections() -> None:
    async with (
        open_backend(scripts.answer(b"one")) as one,
        open_backend(scripts.chunked([b"t", b"wo"], [("X-Sum", "2")])) as two,
    ):
        pools = [bare_relay.Pool(server.port, []) for server in (one, two)]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bare_relay.accept, listener, itertools.cycle(pools))
                await _use_relay(http_url(*listener.getsockname()))
                nursery.cancel_scope.cancel()
        for pool in pools:
            for side in pool.idle:
                side.stream.socket.close()
        for server in (one, two):
            assert [request.body for request in server.requests] == [b"hi", b"hi"]
            assert len(server.connections) == 1


async def _use_relay(url: str) -> None:
    async with open_client(url) as client:
        for _ in range(2):
            await client.send(b"PUT /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nhi" * 2)
            first, second = await client.read_response(), await client.read_response()
            assert (first.body, second.body) == (b"one", b"two")
            assert second.trailers == (("x-sum", "2"),)


async def test_the_python_peer_passes_messages_on(tmp_path: Path) -> None:
    port = peers.free_port()
    proxy = str(peers.ROOT / "benchmarks" / "macro" / "aiohttp_proxy.py")
    async with (
        open_backend(scripts.echo()) as one,
        open_backend(scripts.chunked([b"t", b"wo"], [("Keep-Alive", "no")])) as two,
    ):
        command = [sys.executable, proxy, str(port), str(one.port), str(two.port)]
        with peers.process(command, tmp_path / "log", os.sched_getaffinity(0)):
            await _wait_listening(port)
            async with open_client(http_url("127.0.0.1", port)) as client:
                for expected in (b"hi", b"two", b"hi"):
                    await client.send(
                        b"POST /a%2Fb HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\nTE: x\r\n\r\nhi"
                    )
                    assert (await client.read_response()).body == expected
    for server in (one, two):
        assert {(request.target, request.body) for request in server.requests} == {
            ("/a%2Fb", b"hi")
        }
        assert server.requests[0].header("te") is None
        assert server.requests[0].header("x-forwarded-for") == "127.0.0.1"
        assert len(server.connections) == 1


@needs_gcc
async def test_the_floor_passes_messages_on(tmp_path: Path) -> None:
    program = compiled(peers.ROOT / "benchmarks" / "floor" / "relay.c", tmp_path)
    port = peers.free_port()
    async with (
        open_backend(scripts.answer(b"one")) as one,
        open_backend(scripts.chunked([b"t", b"wo"], [("X-Sum", "2")])) as two,
    ):
        command = [str(program), str(port), str(one.port), str(two.port)]
        with peers.process(command, tmp_path / "log", os.sched_getaffinity(0)):
            await _wait_listening(port)
            async with open_client(http_url("127.0.0.1", port)) as client:
                for expected in (b"two", b"one") * 2:
                    await client.send(b"PUT /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nhi")
                    assert (await client.read_response()).body == expected
    for server in (one, two):
        assert [request.body for request in server.requests] == [b"hi", b"hi"]
        assert len(server.connections) == 1


def test_the_line_of_the_client() -> None:
    told = load.parse_client("100 25600 1 2.000 1500 20000\n")
    assert (told.requests, told.bytes_read, told.errors) == (100, 25600, 1)
    assert (told.requests_per_second, told.p50_s, told.p99_s) == (50, 0.0015, 0.02)
    with pytest.raises(load.LoadError, match="connect: Connection refused"):
        load.parse_client("connect: Connection refused\n")


@needs_gcc
@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind not in ("head", "websocket")])
async def test_the_client_sends_each_class_and_reads_its_answers(kind: str) -> None:
    workload = Workload(kind, 32, 2)
    async with open_backend(scripts.bulk(32)) as backend:
        run = await trio.to_thread.run_sync(
            load.run_closed, backend.port, workload, 1, lambda: None
        )
    assert run.requests > 2
    assert run.errors == 0
    sent = backend.requests[0]
    head = CLASSES[kind].text.partition(b"\r\n")[0].decode()
    assert f"{sent.method} {sent.target} " in head
    assert sent.body_size == (256 if CLASSES[kind].like == "plain-post" else 0)


@needs_gcc
async def test_the_client_counts_errors() -> None:
    async with open_backend(scripts.answer(status=503)) as backend:
        run = await trio.to_thread.run_sync(
            load.run_closed, backend.port, Workload("plain", 32, 1), 1, lambda: None
        )
    assert run.requests == 0
    assert run.errors > 0


@needs_gcc
def test_frames_come_back(tmp_path: Path) -> None:
    echo = compiled(peers.ROOT / "benchmarks" / "classes" / "echo.c", tmp_path)
    port = peers.free_port()
    with peers.process([str(echo), str(port)], tmp_path / "log", os.sched_getaffinity(0)):
        trio.run(_wait_listening, port)
        run = load.run_closed(port, Workload("websocket", 32, 4), 1, lambda: None)
    assert run.requests > 4
    assert run.bytes_read >= run.requests * 127
    assert run.errors == 0


def test_the_start_of_a_peer(tmp_path: Path) -> None:
    cores = os.sched_getaffinity(0)
    program = [sys.executable, "-c", _ANSWERS_32]
    peer = peers.Peer(lambda site: [*program, str(site.port)])
    seconds, memory = start.start(peer, tmp_path, peers.Backends(()), cores)
    assert 0 < seconds < peers.START_SECONDS
    assert memory > 1024**2
    fails = peers.Peer(lambda _: [sys.executable, "-c", "raise SystemExit(2)"])
    with pytest.raises(peers.PeerError, match="gives no answer"):
        start.start(fails, tmp_path, peers.Backends(()), cores)


_ANSWERS_32 = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True:
        with server.accept()[0] as client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 32\\r\\n\\r\\n" + b"x" * 32)
"""


async def _wait_listening(port: int) -> None:
    with trio.fail_after(60):
        while True:
            with suppress(OSError):
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                return
            await trio.sleep(0.05)
