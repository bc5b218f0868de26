"""`trio-lb demo`: a load balancer over three servers of its own, to try it out."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from trio_lb.cli.common import add_command, add_log_level, print_error

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from trio_lb.cli.common import Commands
    from trio_lb.cli.demo_server import DemoServer
    from trio_lb.config import Address, Profile

_NAMES: Final = ("red", "green", "blue")
_FIRST_PORT: Final = 3001
_PORT: Final = 8000


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(
        commands,
        "demo",
        "try it out: a load balancer with three small servers",
        "Run a load balancer on port 8000 over three small servers on ports 3001 to 3003 (or "
        "other ports where these are taken), show a live report, and say what to try.",
        ("trio-lb demo", "then open another terminal and do what it says"),
    )
    add_log_level(parser)
    parser.set_defaults(run=demo)


def demo(arguments: argparse.Namespace) -> int:
    """Run the demo until it is interrupted."""
    import trio

    from trio_lb import logs

    logs.configure("info", arguments.log_level)
    return trio.run(_demo, arguments.log_level)


async def _demo(log_levels: list[tuple[str | None, str]]) -> int:
    import trio

    from trio_lb.cli.demo_server import DemoServer
    from trio_lb.cli.run import serve
    from trio_lb.errors import ListenError

    async with trio.open_nursery() as nursery:
        servers: list[DemoServer] = [
            await nursery.start(DemoServer(name, port).run)
            for port, name in enumerate(_NAMES, start=_FIRST_PORT)
        ]
        profile = demo_profile(servers)
        with suppress(BrokenPipeError):  # it runs, whether or not somebody reads this
            said = what_to_try(profile.listen[0].address, servers)
            print(said, flush=True)
        try:
            code: int = await serve(
                profile, lambda: profile, 1, None, log_levels, attended=True, above=said
            )
        except ListenError as error:  # somebody was faster
            code = print_error(error)
        nursery.cancel_scope.cancel()
    return code


def demo_profile(servers: Sequence[DemoServer]) -> Profile:
    """The profile of a load balancer over these servers, on a port that is free now."""
    from trio_lb.cli.demo_server import free_port
    from trio_lb.config import Address, HealthCheck, Listen, Profile, Server

    return Profile(
        listen=(Listen(address=Address(host="127.0.0.1", port=free_port(_PORT))),),
        servers=tuple(
            Server(address=Address(host="127.0.0.1", port=server.port), name=server.name)
            for server in servers
        ),
        health_check=HealthCheck(interval=2.0, path="/health"),
        report_interval=2.0,
        workers=1,
    )


def what_to_try(listen: Address, servers: Sequence[DemoServer]) -> str:
    """What is running, and commands with which to see something happen."""
    first = servers[0]
    running = ", ".join(f"{server.name} on port {server.port}" for server in servers)
    return f"""\
A load balancer at {listen} with three servers: {running}.

Try, in another terminal:
  curl {listen}
      a few times: the servers take turns
  curl -X POST 'http://127.0.0.1:{first.port}/stop?seconds=15'
      stops the server {first.name}: the others take over, and it is back after 15 seconds
  curl {listen}/echo -d hello
      shows the request as it reaches a server
  curl '{listen}/slow?ms=3000'
      takes 3 seconds: a connection in the report

Ctrl-C ends it.
"""
