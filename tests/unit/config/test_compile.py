"""A profile's plan: every key is in one piece of it, and every piece is read by somebody."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import trio_lb
import trio_lb.plan
from trio_lb.config import Profile, compile_plan, parse_profile
from trio_lb.config.kinds import keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(trio_lb.__file__).parent

#: Every key that is a value of its own: another value than the default, and where it is in the
#: plan. The program itself reads the others; workers and embedding programs do without these.
KEYS: dict[str, tuple[object, str]] = {
    "listen.url": ("http://127.0.0.1:9", "listeners[0].address"),
    "listen.proxy_protocol": (True, "listeners[0].proxy_protocol"),
    "listen.owner": ("0", "listeners[0].owner"),
    "listen.group": ("0", "listeners[0].group"),
    "listen.mode": ("0666", "listeners[0].mode"),
    "servers.url": ("http://127.0.0.1:4/below", "pools[0].servers[0].address"),
    "servers.weight": (9, "pools[0].servers[0].weight"),
    "servers.max_connections": (9, "pools[0].servers[0].max_connections"),
    "servers.send_proxy": ("v2", "pools[0].servers[0].send_proxy"),
    "servers.name": ("other", "pools[0].servers[0].name"),
    "algorithm": ("lc", "pools[0].algorithm"),
    "timeout": ("9s", "routes[0].timeouts.response"),
    "timeouts.connect": ("9s", "routes[0].timeouts.connect"),
    "timeouts.client_head": ("9s", "clients.timeouts.head"),
    "timeouts.body": ("9s", "clients.timeouts.body"),
    "timeouts.keep_alive": ("9s", "clients.timeouts.keep_alive"),
    "timeouts.half_closed": ("9s", "clients.timeouts.half_closed"),
    "timeouts.tunnel": ("9s", "routes[0].tunnel.idle"),
    "timeouts.tunnel_half_closed": ("9s", "routes[0].tunnel.half_closed"),
    "timeouts.drain": ("9s", "drain_timeout"),
    "limits.head": (999, "clients.limits.head"),
    "limits.headers": (9, "clients.limits.fields"),
    "limits.target": (999, "clients.limits.target"),
    "limits.body": (999, "routes[0].body_limit"),
    "limits.min_rate": (9, "clients.limits.min_rate"),
    "limits.clients": (9, "clients.connections.total"),
    "limits.clients_per_address": (9, "clients.connections.per_address"),
    "limits.requests_per_connection": (9, "clients.limits.requests"),
    "retries": (9, "routes[0].retries"),
    "replay_body": (999, "routes[0].replay_body"),
    "upstream.idle_connections": (9, "pools[0].upstream.idle_connections"),
    "upstream.idle_timeout": ("9s", "pools[0].upstream.idle_timeout"),
    "upstream.max_age": ("9s", "pools[0].upstream.max_age"),
    "health_check.interval": ("99s", "pools[0].health_check.interval"),
    "health_check.timeout": ("1s", "pools[0].health_check.timeout"),
    "health_check.method": ("HEAD", "pools[0].health_check.method"),
    "health_check.path": ("/other", "pools[0].health_check.path"),
    "health_check.host": ("other", "pools[0].health_check.host"),
    "health_check.port": (9, "pools[0].health_check.port"),
    "health_check.headers": ({"x-other": "1"}, "pools[0].health_check.headers"),
    "health_check.statuses": ("204", "pools[0].health_check.statuses"),
    "health_check.rise": (9, "pools[0].health_check.rise"),
    "health_check.fall": (9, "pools[0].health_check.fall"),
    "health_check.jitter": (0.9, "pools[0].health_check.jitter"),
    "health_check.enabled": (False, "pools[0].health_check.enabled"),
    "fast_path": (False, "fast_path"),
    "trusted_proxies": (["10.0.0.0/8", "unix"], "clients.identity.trusted_proxies"),
    "forwarded": (True, "clients.identity.forwarded"),
    "unavailable_status": (599, "routes[0].unavailable_status"),
    "error_pages": ({503: "PAGE"}, "routes[0].error_pages"),
    "access_log": ("other.log", "access_log.path"),
    "access_log_format": ("json", "access_log.form"),
    "log_level": ("debug", "log_level"),
}
OF_THE_PROGRAM = {"workers", "pid_file", "user", "report_interval"}

#: What is in the plan besides, and follows from something else.
DERIVED = {
    "access_log.shown",
    "pools[0].health_check.shown_path",
    "pools[0].health_check.shown_port",
    "pools[0].name",
    "routes[0].pool",
}


def base() -> dict[str, Any]:
    """A profile from which all keys can be changed, one at a time."""
    return {
        "listen": {"url": "unix:/tmp/listen.sock"},
        "servers": [{"url": "http://127.0.0.1:3", "name": "one"}],
        "trusted_proxies": "192.0.2.1",
        "health_check": {"path": "/well"},
        "access_log": "access.log",
    }


def changed(key: str, value: object) -> dict[str, Any]:
    """The same with another value for one key."""
    profile = base()
    *outer, last = key.split(".")
    inner = profile
    for name in outer:
        inner = inner.setdefault(name, {})
        inner = inner[0] if isinstance(inner, list) else inner
    inner[last] = value
    return profile


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All values in a plan, by their paths; a tuple of structs is gone through, others are one."""
    if isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from leaves(getattr(value, field), f"{path}.{field}".removeprefix("."))
    elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
        for index, each in enumerate(value):
            yield from leaves(each, f"{path}[{index}]")
    else:
        yield path, value


def planned(profile: dict[str, Any]) -> dict[str, Any]:
    return dict(leaves(compile_plan(parse_profile(profile))))


def keys(struct: type[msgspec.Struct], path: str = "") -> Iterator[str]:
    """The paths of all keys of the model that have no others below them."""
    for key in keys_of(struct).values():
        kind = key.kind.item or key.kind
        if kind.struct is None:
            yield path + key.name
        else:
            yield from keys(kind.struct, f"{path}{key.name}.")


def test_all_keys_are_spoken_of() -> None:
    assert set(keys(Profile)) == KEYS.keys() | OF_THE_PROGRAM


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_in_one_piece(key: str, tmp_path: Path) -> None:
    value, path = KEYS[key]
    if key == "error_pages":
        page = tmp_path / "down.html"
        page.write_text("down")
        value = {503: str(page)}
    before, after = planned(base()), planned(changed(key, value))
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} - DERIVED == {path}


def test_a_plan_has_nothing_else() -> None:
    assert planned(base()).keys() == {path for _, path in KEYS.values()} | DERIVED


@pytest.mark.parametrize("key", sorted(OF_THE_PROGRAM))
def test_the_program_has_no_use_for_a_plan_of_its_own(key: str) -> None:
    value = {"workers": 9, "report_interval": "99s", "user": "root"}.get(key, "/tmp/x.pid")
    assert planned(changed(key, value)) == planned(base())
    assert any(key in read_of("profile", path) for path in (PACKAGE / "cli").glob("*.py")) or any(
        key in read_of("profile", path) for path in (PACKAGE / "supervise").glob("*.py")
    )


def read_of(name: str, path: Path) -> set[str]:
    """The attributes that a module reads of what has this name, or of any object's such field."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            owner = node.value
            of = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if of == name:
                found.add(node.attr)
    return found


def test_every_field_of_a_plan_is_read_by_somebody() -> None:
    read = set()
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "config":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    read.add(node.attr)
    fields = {
        field
        for piece in vars(trio_lb.plan).values()
        if isinstance(piece, type) and issubclass(piece, msgspec.Struct)
        for field in piece.__struct_fields__
    }
    assert fields - read == set()


def test_the_error_pages_are_read_once(tmp_path: Path) -> None:
    page = tmp_path / "down.html"
    page.write_text("down")
    plan = compile_plan(parse_profile(changed("error_pages", {503: str(page)})))
    page.unlink()
    assert plan.routes[0].error_pages[503].body == b"down"


def test_what_is_from_the_environment_is_shown_as_it_is_written(tmp_path: Path) -> None:
    text = """
        servers: {url: "http://${S}:3"}
        access_log: ${LOG}
        health_check: {path: "/${P}", port: "${PORT}"}
    """
    environ = {"S": "hunter2", "LOG": str(tmp_path / "hunter2"), "P": "hunter2", "PORT": "2222"}
    plan = compile_plan(parse_profile(text, environ=environ))
    (pool,) = plan.pools
    (server,) = pool.servers
    assert plan.access_log is not None
    assert (plan.access_log.shown, pool.health_check.shown_path) == ("${LOG}", "/${P}")
    assert pool.health_check.shown_port == "${PORT}"
    assert (str(server.address), server.name) == ("http://${S}:3", "http://${S}:3")


def test_a_worker_imports_only_what_it_needs() -> None:
    """It is told a plan: neither a parser nor the model of a profile is in its memory."""
    code = (
        "import sys, trio_lb.supervise.worker; print(*sorted(sys.modules.keys() "
        "& {'yaml', 'trio_lb.config', 'rich', 'argparse', 'importlib.metadata'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == []
