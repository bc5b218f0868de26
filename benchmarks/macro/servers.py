"""The servers behind the balancers: one nginx that answers at three ports."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from benchmarks.floor.build import compiled
from benchmarks.macro.peers import (
    ROOT,
    Backends,
    free_port,
    nginx,
    process,
    wait_answering,
    websocket,
)
from benchmarks.macro.workloads import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from benchmarks.macro.workloads import Workload


@contextmanager
def servers(directory: Path, workloads: Iterable[Workload], cores: set[int]) -> Iterator[Backends]:
    """Runs servers until the block is left; begins when they answer all of `workloads`."""
    workloads = list(workloads)
    ports, proxied = (tuple(free_port() for _ in range(3)) for _ in range(2))
    sockets = tuple(directory / f"{number}.sock" for number in range(3))
    echo = free_port()
    for workload in workloads:
        (directory / str(workload.body)).write_bytes(b"x" * workload.body)
    listen = "".join(
        [
            *(f"    listen 127.0.0.1:{port} backlog=4096;\n" for port in ports),
            *(f"    listen 127.0.0.1:{port} proxy_protocol backlog=4096;\n" for port in proxied),
            *(f"    listen unix:{path} backlog=4096;\n" for path in sockets),
        ]
    )
    command = nginx(
        directory,
        "  sendfile on;\n  open_file_cache max=100;\n  default_type application/octet-stream;\n"
        f"  upstream itself {{\n    server 127.0.0.1:{ports[0]};\n    keepalive 16;\n"
        "    keepalive_requests 1000000000;\n  }\n"
        f"  server {{\n{listen}    root {directory};\n"
        "    location = / {\n      return 204;\n    }\n"
        f"    location = /post {{\n      return 200 {'x' * SMALL};\n    }}\n"
        # `return` would discard the body as it comes. A proxy collects it, here in memory, and then
        # asks for the answer, without the body.
        "    location = /upload {\n      client_body_buffer_size 2m;\n"
        "      proxy_pass http://itself/post;\n      proxy_http_version 1.1;\n"
        '      proxy_set_header Connection "";\n      proxy_set_header Content-Length "";\n'
        "      proxy_pass_request_body off;\n    }\n"
        # Server-side includes could change the length, so these answers are chunked.
        f"    location /chunked/ {{\n      alias {directory}/;\n      ssi on;\n"
        "      ssi_types *;\n    }\n"
        # ... or, if that is forbidden, end with their connection.
        f"    location /closing/ {{\n      alias {directory}/;\n      ssi on;\n"
        "      ssi_types *;\n      chunked_transfer_encoding off;\n    }\n"
        f"    location /trailers/ {{\n      alias {directory}/;\n"
        "      add_trailer X-Sum 1;\n    }\n"
        "    location = /304 {\n      return 304;\n    }\n"
        f"    location = /websocket {{\n{websocket(f'http://127.0.0.1:{echo}')}    }}\n  }}\n",
    )
    with ExitStack() as stack:
        if any(workload.kind == "websocket" for workload in workloads):
            program = compiled(ROOT / "benchmarks" / "classes" / "echo.c", directory)
            stack.enter_context(process([str(program), str(echo)], directory / "echo-log", cores))
        running = stack.enter_context(process(command, directory / "log", cores))
        for port in ports:
            wait_answering(port, workloads, running, directory / "log")
        yield Backends(ports, proxied, sockets)
