"""`trio-lb demo` as its user sees it: a process, a URL to try, a server to stop."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PATIENCE: Final = 60.0


def _get(url: str, method: str = "GET") -> str:
    request = urllib.request.Request(url, method=method)
    with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
        assert response.status == 200
        return str(response.read().decode())


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_demo_does_what_it_says() -> None:
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-m", "trio_lb", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            words = ""
            while "Ctrl-C" not in words:
                line = process.stdout.readline()
                assert line, words
                words += line
            while "listening on" not in (line := process.stderr.readline()):
                assert line
            (url,) = re.findall(r"A load balancer at (\S+) ", words)
            (stop,) = re.findall(r"curl -X POST '(\S+)\?seconds=15'", words)

            def names(count: int = 6) -> list[str]:
                return sorted(_get(url).split(":")[0] for _ in range(count))

            assert names() == ["blue", "blue", "green", "green", "red", "red"]
            assert _get(f"{stop}?seconds=2", "POST") == "red: back in 2 seconds\n"
            _wait(lambda: "red" not in names())  # it answers first, and stops then
            _wait(lambda: "red" in names())
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=_PATIENCE)
            assert process.returncode == 0, errors
            assert "Traceback" not in errors
            assert "server red: alive -> dead" in errors
            assert "red" in output
        finally:
            process.kill()


def test_a_port_in_use_is_told_and_ends_with_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        profile = tmp_path / "x.yaml"
        profile.write_text(f"servers: http://127.0.0.1:1\nlisten: http://127.0.0.1:{port}\n")
        done = subprocess.run(
            [sys.executable, "-m", "trio_lb", "start", "-p", str(profile)],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=_PATIENCE,
        )
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr
