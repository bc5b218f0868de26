"""Settings that are right by themselves and wrong, or doubtful, together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_lb.config.address import leads_back

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_lb.config.model import Listen, Profile, Server
    from trio_lb.plan import Address

_THIS_HOST: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def conflicts(
    listen: dict[str, Listen], servers: dict[str, Server], trusted: bool, check_port: int | None
) -> Iterator[tuple[str, str]]:
    """Settings that contradict each other.

    Args:
        listen: where clients connect, by their path in the profile.
        servers: servers, likewise.
        trusted: there are trusted proxies.
        check_port: the port that health checks ask.

    Yields:
        The path of the offender, and what is wrong with it.
    """
    addresses: dict[Address, str] = {}
    for path, each in listen.items():
        address = each.address
        first = addresses.setdefault(address, path)
        if first != path and address.port != 0:
            yield path, f"{address} is already used by {first}"
        if each.proxy_protocol and not trusted:
            yield path, "proxy_protocol needs trusted_proxies, which is off"
        if address.unix is None:
            for key in ("owner", "group", "mode"):
                if getattr(each, key) is not None:
                    yield f"{path}.{key}", "only a unix socket can have it"
    targets: dict[Address, str] = {}
    names: dict[str, str] = {}
    for path, server in servers.items():
        if check_port is not None and server.address.unix is not None:
            yield "health_check.port", f"a unix socket has no port, and {path} is one"
        first = targets.setdefault(server.address, path)
        if first != path:
            yield path, f"{server.address} is already used by {first}"
        elif names.setdefault(server.name, path) != path:
            yield path, f'the name "{server.name}" is already used by {names[server.name]}'
        for each in listen.values():
            if leads_back(server.address, each.address):
                where = f"where this load balancer listens ({each.address})"
                yield path, f"{server.address} is {where}"


def doubts(profile: Profile) -> Iterator[tuple[str, str]]:
    """Settings that are valid and probably a mistake: paths and messages, as `conflicts` gives."""
    seen: dict[tuple[int, str], str] = {}
    for index, server in enumerate(profile.servers):
        address = server.address
        if address.unix is None and address.host in _THIS_HOST:
            first = seen.setdefault((address.port, address.path), f"servers[{index}]")
            if first != f"servers[{index}]":
                yield f"servers[{index}]", f"{address} is probably the same server as {first}"
