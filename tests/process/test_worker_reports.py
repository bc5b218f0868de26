"""What is told of each worker, and of all together, while they work, die and give way."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import trio

from tests.support import scripts
from tests.support.backend import open_backend
from tests.support.balancer import CHECK_PATH, besides_checks
from tests.support.client import open_client, request
from tests.support.process import run_balancer
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Report = dict[str, Any]


async def reported(path: Path, wanted: Callable[[Report], object]) -> Report:
    """The first saved report from now on that is as wanted."""
    seen = None
    file = trio.Path(path)
    with trio.move_on_after(PATIENCE):
        while True:
            text = await file.read_text() if await file.exists() else ""
            lines = text[: text.rfind("\n") + 1].splitlines()
            if lines and lines[-1] != seen:
                seen = lines[-1]
                report: Report = json.loads(seen)
                if wanted(report):
                    return report
            await trio.sleep(0.05)
    raise AssertionError(f"was not reported; at last: {seen}")


async def test_each_worker_is_told_of_and_totals_go_on(tmp_path: Path) -> None:
    profile, saved = tmp_path / "x.yaml", tmp_path / "x.jsonl"
    async with open_backend(besides_checks(scripts.answer(b"ok"))) as backend:
        keys = {
            "listen": "http://127.0.0.1:0",
            "servers": [backend.url],
            "workers": 3,
            "report_interval": "200ms",
            "health_check": {"path": CHECK_PATH},
        }
        await trio.Path(profile).write_text(json.dumps(keys))
        async with run_balancer("start", "-p", profile, "-rr", "-s", saved) as child:
            url = (await child.wait_line(r"listening on (\S+):.* 3 workers"))[1]
            await child.wait_line(r"^ +2  Serving +\d+ +1 ")
            for _ in range(60):
                await request(url)
            report = await reported(saved, lambda report: report["requests_total"] == 60)
            workers = report["workers"]
            assert [worker["number"] for worker in workers] == [0, 1, 2]
            assert all(worker["heartbeat_age_s"] < 4 for worker in workers)
            assert all(worker["requests"] for worker in workers)
            for key in ("requests", "served", "connections_total"):
                assert sum(worker[key] for worker in workers) == 60
            assert len({worker["pid"] for worker in workers}) == 3

            os.kill(workers[1]["pid"], signal.SIGKILL)
            report = await reported(
                saved,
                lambda report: [
                    (worker["starts"], worker["state"]) for worker in report["workers"]
                ] == [(1, "serving"), (2, "serving"), (1, "serving")],
            )  # fmt: skip
            assert report["requests_total"] == report["total_served"] == 60
            assert report["workers"][1]["pid"] != workers[1]["pid"]
            assert report["workers"][1]["requests"] == 0

            async with open_client(url) as old:  # a long exchange, which the old worker keeps
                await old.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
                await reported(saved, lambda report: report["client_connections"] == 1)
                await trio.Path(profile).write_text(json.dumps(keys | {"workers": 1}))
                child.signal(signal.SIGHUP)
                report = await reported(
                    saved, lambda report: [each["state"] for each in report["workers"]]
                    == ["draining", "serving"]
                )  # fmt: skip
                assert [each["connections"] for each in report["workers"]] == [1, 0]
                await old.send(b"x")
                assert (await old.read_response()).body == b"ok"
            report = await reported(saved, lambda report: len(report["workers"]) == 1)
            assert report["requests_total"] == report["total_served"] == 61
            child.signal(signal.SIGTERM)
            assert await child.wait() == 0


async def test_the_short_report_is_without_workers(tmp_path: Path) -> None:
    profile = tmp_path / "x.yaml"
    await trio.Path(profile).write_text(
        "listen: http://127.0.0.1:0\nservers: http://127.0.0.1:1\nhealth_check: off\n"
        "report_interval: 200ms\nworkers: 1\n"
    )
    async with run_balancer("start", "-p", profile, "-r") as child:
        await child.wait_line("^LB Summary")
        await child.wait_line("^LB Summary")
        child.signal(signal.SIGTERM)
        assert await child.wait() == 0
    assert "Worker" not in "\n".join(child.stdout)


async def test_lost_access_log_entries_of_workers_are_told(tmp_path: Path) -> None:
    profile, saved = tmp_path / "x.yaml", tmp_path / "x.jsonl"
    log = tmp_path / "access.log"
    async with open_backend(besides_checks(scripts.answer(b"ok"))) as backend:
        keys = {
            "listen": "http://127.0.0.1:0",
            "servers": [backend.url],
            "workers": 2,
            "report_interval": "200ms",
            "access_log": str(log),
            "health_check": {"path": CHECK_PATH},
        }
        await trio.Path(profile).write_text(json.dumps(keys))
        async with run_balancer("start", "-p", profile, "-s", saved) as child:
            url = (await child.wait_line(r"listening on (\S+):"))[1]
            log.unlink(missing_ok=True)
            log.symlink_to("/dev/full")
            for _ in range(20):
                await request(url)
            report = await reported(saved, lambda report: report["access_log_dropped"] == 20)
            for worker in report["workers"]:
                os.kill(worker["pid"], signal.SIGKILL)
            report = await reported(
                saved, lambda report: [each["starts"] for each in report["workers"]] == [2, 2]
            )
            assert report["access_log_dropped"] == 20
            child.signal(signal.SIGTERM)
            assert await child.wait() == 0
