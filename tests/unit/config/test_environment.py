"""What comes from the environment may be a secret: people are shown `${NAME}` in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from msgspec.structs import replace

from trio_lb.config import (
    Profile,
    ProfileError,
    compile_plan,
    dump_profile,
    override,
    parse_profile,
)

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2"
SERVER = "servers: http://a:1\n"

RIGHT = """\
listen: http://${HOST}:${PORT:-80}
algorithm: ${ALGORITHM}
servers:
  - http://${HOST}:3001
  - {url: "http://b/${HOST}", weight: "${WEIGHT:-3}", name: "${HOST}"}
trusted_proxies: [10.0.0.0/8, "${NETWORK}"]
timeouts: {drain: "${DRAIN}"}
health_check: ${CHECK}
limits:
  body: ${BODY}
error_pages: {503: "${PAGE}"}
access_log: /var/log/${HOST}/$$1.log
pid_file: ${HOST}.pid
user: ${HOST}
"""


def _environ(tmp_path: Path) -> dict[str, str]:
    page = tmp_path / f"{SECRET}.txt"
    page.write_text("down")
    return {
        "HOST": SECRET,
        "ALGORITHM": "lc",
        "NETWORK": "192.0.2.0/24",
        "DRAIN": "77s",
        "CHECK": "off",
        "BODY": "off",
        "PAGE": str(page),
    }


def test_a_profile_is_shown_as_it_was_written(tmp_path: Path) -> None:
    environ = _environ(tmp_path)
    profile = parse_profile(RIGHT, environ=environ)
    text = dump_profile(profile, as_written=True)
    assert SECRET not in text
    shown = yaml.safe_load(text)
    first, second = shown["servers"]
    (listen,) = shown["listen"]
    assert (listen["url"], listen["proxy_protocol"]) == ("http://${HOST}:${PORT:-80}", False)
    assert shown["algorithm"] == "${ALGORITHM}"
    assert first["url"] == "http://${HOST}:3001"
    assert first["weight"] == 1  # defaults are spelled out beside it
    assert "name" not in first
    assert [second[key] for key in ("url", "weight", "name")] == [
        "http://b/${HOST}",
        "${WEIGHT:-3}",
        "${HOST}",
    ]
    assert shown["trusted_proxies"] == ["10.0.0.0/8", "${NETWORK}"]
    assert shown["timeouts"]["drain"] == "${DRAIN}"
    assert shown["health_check"]["enabled"] == "${CHECK}"
    assert shown["limits"]["body"] == "${BODY}"
    assert shown["error_pages"] == {503: "${PAGE}"}
    assert shown["access_log"] == "/var/log/${HOST}/$$1.log"
    again = parse_profile(text, environ=environ)
    assert dump_profile(again, as_written=True) == text
    assert replace(again, from_environment={}) == replace(profile, from_environment={})


def test_processes_are_told_the_values(tmp_path: Path) -> None:
    profile = parse_profile(RIGHT, environ=_environ(tmp_path))
    read = parse_profile(dump_profile(profile), environ={})
    assert read.servers == profile.servers
    assert read.listen == profile.listen
    assert read.access_log == f"/var/log/{SECRET}/$1.log"
    assert read.timeouts.drain == 77
    assert read.health_check.enabled is False


def test_servers_are_named_without_the_environment(tmp_path: Path) -> None:
    profile = parse_profile(RIGHT, environ=_environ(tmp_path))
    assert profile.servers[0].address.url == f"http://{SECRET}:3001"
    assert [server.name for server in profile.servers] == ["http://${HOST}:3001", "${HOST}"]
    assert [str(server.address) for server in profile.servers] == [
        "http://${HOST}:3001",
        "http://b/${HOST}",
    ]
    assert SECRET not in repr([server.name for server in profile.servers])


def test_what_is_too_long_for_a_name_is_named_by_its_place() -> None:
    long = "${A:-" + 100 * "x" + "}"
    text = f"servers: ['http://{long}:1', {{url: 'http://b', name: '{long}'}}, 'http://{long}:2']"
    profile = parse_profile(text, environ={"A": "a"})
    assert [server.name for server in profile.servers] == [
        "servers[0]",
        "servers[1].name",
        "servers[2]",
    ]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("access_log", "/var/log/${HOST}/$$1.log"),
        ("pid_file", "${HOST}.pid"),
        ("health_check.path", "/"),
        ("timeouts.connect", "2.0"),
    ],
)
def test_a_value_is_shown_by_its_path(tmp_path: Path, path: str, shown: str) -> None:
    assert parse_profile(RIGHT, environ=_environ(tmp_path)).shown(path) == shown


WRONG = [
    "servers: http://me:${S}@a:1",
    "servers: ${S}",
    "servers: ${S}:3001",  # could be asked about with http:// before it
    "servers: [http://a:1, 'http://${S}:1', 'http://${S}:1']",
    "servers: [{url: http://a, name: '${S}'}, {url: http://b, name: '${S}'}]",
    "servers: [{url: http://a, weight: '${S}'}]",
    "servers: {url: http://a, name: 'x${S} ${N}'}",
    "listen: http://${S}:1/x\n" + SERVER,
    "listen: [http://a:2, 'http://${S}:1', 'http://${S}:1']\n" + SERVER,
    "listen: http://${S}:1\nservers: http://${S}:1",
    *(
        f"{key}: '${{S}}'\n{SERVER}"
        for key in ("algorithm", "timeout", "retries", "replay_body", "workers", "log_level")
    ),
    SERVER + "trusted_proxies: '${NET}'",
    SERVER + "health_check: {path: '${S}'}",
    SERVER + "health_check: {statuses: '${RANGE}'}",
    SERVER + "health_check: {headers: {Authorization: '${S}${N}'}}",
    SERVER + "health_check: {host: 'http://${S}'}",
    SERVER + "health_check: '${S}'",
    SERVER + "error_pages: {503: '/no/${S}.txt'}",
    SERVER + "error_pages: {'${S}': x.txt}",
    SERVER + "pid_file: '${S}/'",
    SERVER + "user: '${S}:'",
]


@pytest.mark.parametrize("text", WRONG)
def test_errors_show_what_was_written(text: str) -> None:
    environ = {"S": SECRET, "NET": "192.0.2.99/24", "RANGE": "399-204", "N": "\n"}
    with pytest.raises(ProfileError) as caught:
        parse_profile(text, environ=environ)
    said = str(caught.value)
    assert "${" in said
    for secret in (SECRET, "192.0.2", "399", "204"):
        assert secret not in said


def test_what_a_default_gave_is_shown_as_written_too() -> None:
    with pytest.raises(ProfileError, match=r'got "\$\{W:-heavy\}"'):
        parse_profile(SERVER + "retries: ${W:-heavy}", environ={})


def test_a_default_in_a_default_is_told_as_what_it_is() -> None:
    with pytest.raises(
        ProfileError, match=r"^x:2:10: retries: a default cannot contain another \$\{"
    ):
        parse_profile(SERVER + "retries: ${A:-${B}}", "x", environ={"A": "1", "B": "2"})


def test_a_page_that_has_gone_is_told_by_what_was_written(tmp_path: Path) -> None:
    page = tmp_path / f"{SECRET}.txt"
    page.write_text("down")
    text = SERVER + "error_pages: {503: '${PAGE}'}"
    profile = parse_profile(text, environ={"PAGE": str(page)})
    page.unlink()
    with pytest.raises(ProfileError) as caught:
        compile_plan(profile)
    assert str(caught.value).startswith("${PAGE}: error_pages.503: ")
    assert SECRET not in str(caught.value)


def test_the_command_line_goes_over_what_the_environment_gave() -> None:
    text = "servers: http://${S}:1\nlisten: http://${S}:2\nalgorithm: ${A}\nworkers: ${W}"
    profile = parse_profile(text, environ={"S": "a", "A": "lc", "W": "2"})
    changed = override(profile, listen=["http://b:3"], algorithm="rr", workers=4)
    shown = yaml.safe_load(dump_profile(changed, as_written=True))
    assert shown["listen"][0]["url"] == "http://b:3"
    assert (shown["algorithm"], shown["workers"]) == ("round_robin", 4)
    assert shown["servers"][0]["url"] == "http://${S}:1"
    assert isinstance(changed, Profile)
