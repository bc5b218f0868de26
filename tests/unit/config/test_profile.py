"""Right profiles: what they mean, what holds where they are silent, and what overrides them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

import pytest

from trio_lb.config import (
    Address,
    Algorithm,
    ForwardedField,
    HealthCheck,
    Limits,
    Listen,
    Profile,
    ProfileError,
    Server,
    Timeouts,
    Upstream,
    load_profile,
    override,
    parse_profile,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_the_smallest_profile_has_the_defaults_of_the_design() -> None:
    profile = parse_profile("servers: http://127.0.0.1:3001")
    assert profile == Profile(
        listen=(Listen(address=Address(host="127.0.0.1", port=8000)),),
        servers=(
            Server(
                address=Address(host="127.0.0.1", port=3001),
                weight=1,
                max_connections=0,
                name="http://127.0.0.1:3001",
            ),
        ),
        algorithm=Algorithm.ROUND_ROBIN,
        timeout=10,
        timeouts=Timeouts(connect=2, client_head=10, body=30, keep_alive=60, tunnel=3600, drain=30),
        limits=Limits(
            head=16384,
            headers=100,
            target=8192,
            body=None,
            min_rate=240,
            clients=None,
            clients_per_address=None,
            requests_per_connection=None,
        ),
        retries=2,
        replay_body=65536,
        upstream=Upstream(idle_connections=64, idle_timeout=4),
        health_check=HealthCheck(
            interval=10,
            timeout=5,
            path="/",
            statuses=(range(200, 500),),
            rise=1,
            fall=1,
            jitter=0.1,
            enabled=True,
        ),
        workers="auto",
        pid_file=None,
        user=None,
        trusted_proxies=None,
        forwarded=ForwardedField.OFF,
        unavailable_status=503,
        access_log=None,
        fast_path=True,
        access_log_format="combined",
        report_interval=10,
        log_level="info",
    )


def test_every_key_can_be_written() -> None:
    profile = parse_profile(
        """\
# where clients come
listen:
  - http://*:80
  - {url: "http://[::1]:8080", proxy_protocol: on}
  - unix:/run/trio-lb.sock
algorithm: wlc
servers:
  - http://app.example:3001/v1/
  - {url: "http://[::1]:3002", weight: 3, max_connections: 500, name: two, send_proxy: V2}
  - url: unix:/run/app.sock
    max_connections: 5
trusted_proxies: [10.0.0.0/8, "2001:db8::1", UNIX]
forwarded: only
timeout: 250ms
timeouts: {connect: 500ms, client_head: 1m, body: 1.5, keep_alive: 0, tunnel: 1d, drain: 1h}
limits:
  head: 32KiB
  headers: 50
  target: 4kb
  body: 1 MB
  min_rate: 1kB
  clients: 10000
  clients_per_address: 20
  requests_per_connection: 1000
retries: 0
replay_body: 0
upstream: {idle_connections: 0, idle_timeout: 0s}
health_check:
  interval: 2s
  timeout: 1s
  path: /health?full=yes
  statuses: [200-299, 401]
  rise: 2
  fall: 3
  jitter: 25%
workers: 4
pid_file: /run/trio-lb/pid
user: www-data:adm
unavailable_status: 500
access_log: "-"
fast_path: off
access_log_format: json
report_interval: 1
log_level: DEBUG
"""
    )
    assert profile == Profile(
        listen=(
            Listen(address=Address(host="*", port=80)),
            Listen(address=Address(host="::1", port=8080), proxy_protocol=True),
            Listen(address=Address(unix="/run/trio-lb.sock")),
        ),
        servers=(
            Server(address=Address(host="app.example", port=3001, path="/v1")),
            Server(
                address=Address(host="::1", port=3002),
                weight=3,
                max_connections=500,
                name="two",
                send_proxy="v2",
            ),
            Server(address=Address(unix="/run/app.sock"), max_connections=5),
        ),
        algorithm=Algorithm.WEIGHTED_LEAST_CONNECTIONS,
        trusted_proxies=(IPv4Network("10.0.0.0/8"), IPv6Network("2001:db8::1"), "unix"),
        forwarded=ForwardedField.ONLY,
        timeout=0.25,
        timeouts=Timeouts(
            connect=0.5, client_head=60, body=1.5, keep_alive=0, tunnel=86400, drain=3600
        ),
        limits=Limits(
            head=32768,
            headers=50,
            target=4000,
            body=1_000_000,
            min_rate=1000,
            clients=10_000,
            clients_per_address=20,
            requests_per_connection=1000,
        ),
        retries=0,
        replay_body=0,
        upstream=Upstream(idle_connections=0, idle_timeout=0),
        health_check=HealthCheck(
            interval=2,
            timeout=1,
            path="/health?full=yes",
            statuses=(range(200, 300), range(401, 402)),
            rise=2,
            fall=3,
            jitter=0.25,
        ),
        workers=4,
        pid_file="/run/trio-lb/pid",
        user="www-data:adm",
        unavailable_status=500,
        access_log="-",
        fast_path=False,
        access_log_format="json",
        report_interval=1,
        log_level="debug",
    )


@pytest.mark.parametrize("off", ["off", "false", "no", "{enabled: off}", "Off"])
def test_health_checks_can_be_off(off: str) -> None:
    profile = parse_profile(f"servers: http://a\nhealth_check: {off}")
    assert profile.health_check == HealthCheck(enabled=False)


@pytest.mark.parametrize("off", ["off", "null", "~", "", "no"])
def test_a_body_limit_and_an_access_log_can_be_off(off: str) -> None:
    profile = parse_profile(f"servers: http://a\nlimits: {{body: {off}}}\naccess_log: {off}")
    assert profile.limits.body is None
    assert profile.access_log is None


def test_a_check_never_takes_longer_than_the_interval() -> None:
    assert HealthCheck(interval=2).timeout == 2
    profile = parse_profile("servers: http://a\nhealth_check: {interval: 3s, timeout: 7s}")
    assert profile.health_check.timeout == 3


def test_the_default_statuses_depend_on_the_path() -> None:
    assert HealthCheck().path == "/"
    assert HealthCheck().statuses == (range(200, 500),)
    assert HealthCheck(path="/").statuses == (range(200, 400),)
    assert HealthCheck(statuses=(range(204, 205),)).statuses == (range(204, 205),)


def test_a_check_can_have_headers_of_its_own() -> None:
    text = "servers: http://a\nhealth_check: {headers: {X-Token: 7, x-a: b c}, method: head}"
    check = parse_profile(text).health_check
    assert check.headers == {"X-Token": "7", "x-a": "b c"}
    assert check.method == "HEAD"


def test_accepted_statuses() -> None:
    check = HealthCheck(statuses=(range(200, 300), range(401, 402)))
    assert [status for status in (199, 200, 299, 300, 401, 402) if check.accepts(status)] == [
        200,
        299,
        401,
    ]


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("rr", "round_robin"),
        ("wrr", "weighted_round_robin"),
        ("lc", "least_connections"),
        ("wlc", "weighted_least_connections"),
        ("lrt", "least_response_time"),
        ("wlrt", "weighted_least_response_time"),
        ("Least-Connections", "least_connections"),
    ],
)
def test_algorithms_have_short_names(name: str, algorithm: str) -> None:
    profile = parse_profile(f"servers: http://a\nalgorithm: {name}")
    assert profile.algorithm == Algorithm(algorithm)
    assert override(profile, algorithm=name).algorithm == Algorithm(algorithm)


def test_quotes_anchors_and_json_make_no_difference() -> None:
    plain = parse_profile("servers: [{url: http://a, weight: 3}, {url: http://b, weight: 3}]")
    quoted = parse_profile(
        'servers: [{"url": "http://a", weight: &w "3"}, {url: http://b, weight: *w}]'
    )
    json = parse_profile(
        '{"servers": [{"url":"http://a","weight":3},{"url":"http://b","weight":3}]}'
    )
    assert plain == quoted == json


def test_the_environment_is_put_in_before_types_are_looked_at() -> None:
    text = """\
servers:
  - {url: "http://${HOST}:${PORT:-3001}", weight: "${WEIGHT}", name: "costs 5$ or $$${PORT:-}"}
  - http://${EMPTY:-other}
retries: ${RETRIES:-7}
access_log: /var/log/${$$}.log
"""
    with pytest.raises(ProfileError, match=r":5:13: access_log: expected \$\{NAME\} or"):
        parse_profile(text, environ={"HOST": "h", "WEIGHT": "5"})
    profile = parse_profile(
        text.replace("${$$}", "$${x}"), environ={"HOST": "h", "WEIGHT": "5", "EMPTY": ""}
    )
    assert profile.servers == (
        Server(address=Address(host="h", port=3001), weight=5, name="costs 5$ or $${PORT:-}"),
        Server(address=Address(host="other", port=80), name="http://${EMPTY:-other}"),
    )
    assert profile.retries == 7
    assert profile.access_log == "/var/log/${x}.log"


def test_values_from_the_environment_are_not_expanded_again() -> None:
    profile = parse_profile("servers: http://a\naccess_log: '${A}'", environ={"A": "${A}$$"})
    assert profile.access_log == "${A}$$"


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_LB_TEST_HOST", "here")
    profile = parse_profile("servers: http://${TRIO_LB_TEST_HOST}")
    assert profile.servers[0].address.host == "here"


def test_load_profile_reads_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfservers: http://a\r\nretries: 5\r\n")
    assert load_profile(path).retries == 5
    assert load_profile(str(path)) == load_profile(path)


def test_override_replaces_listen_and_algorithm_and_nothing_else() -> None:
    profile = parse_profile("servers: http://a\nretries: 1")
    changed = override(profile, listen=["http://:9000", Address(host="::1", port=1)])
    assert [str(each.address) for each in changed.listen] == ["http://*:9000", "http://[::1]:1"]
    assert changed.retries == 1
    assert override(profile) == profile


def test_an_address_of_the_command_line_is_nothing_but_an_address() -> None:
    profile = parse_profile(
        "servers: http://a\ntrusted_proxies: 10.0.0.1\n"
        "listen: {url: 'http://:80', proxy_protocol: on}"
    )
    assert override(profile) == profile
    (listen,) = override(profile, listen=["http://:80"]).listen
    assert not listen.proxy_protocol


def test_trusted_proxies_may_come_from_the_environment() -> None:
    text = "servers: http://a\ntrusted_proxies: ${PROXIES:-off}"
    assert parse_profile(text, environ={}).trusted_proxies is None
    assert parse_profile(text, environ={"PROXIES": "10.0.0.0/8"}).trusted_proxies == (
        IPv4Network("10.0.0.0/8"),
    )


def test_override_replaces_the_number_of_workers() -> None:
    profile = parse_profile("servers: http://a\nworkers: 3")
    assert override(profile).workers == 3
    assert override(profile, workers=2).workers == 2
    assert override(profile, workers="auto").workers == "auto"
    with pytest.raises(ProfileError, match=r"^command line: expected a whole number"):
        override(profile, workers=0)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("workers", "Auto", "auto"),
        ("workers", "'1'", 1),
        ("workers", "256", 256),
        ("workers", "${WORKERS:-2}", 2),
        ("pid_file", "trio-lb.pid", "trio-lb.pid"),
        ("pid_file", "off", None),
        ("user", "nobody", "nobody"),
        ("user", "off", None),
    ],
)
def test_keys_of_the_program(key: str, text: str, value: object) -> None:
    profile = parse_profile(f"servers: http://a\n{key}: {text}", environ={})
    assert getattr(profile, key) == value


@pytest.mark.parametrize(
    ("listen", "algorithm", "said"),
    [
        (["http://a"], None, "servers[0]: http://a:80 is where this load balancer listens"),
        (["https://b"], None, "https:// (TLS) is not supported yet"),
        (None, "roundrobin", 'did you mean "round_robin"?'),
    ],
)
def test_override_checks_what_it_gets(
    listen: list[str] | None, algorithm: str | None, said: str
) -> None:
    profile = parse_profile("servers: http://a")
    with pytest.raises(ProfileError) as caught:
        override(profile, listen=listen, algorithm=algorithm)
    assert said in str(caught.value)
    assert str(caught.value).startswith("command line: ")


def test_structs_can_not_be_changed() -> None:
    profile = parse_profile("servers: http://a")
    with pytest.raises(AttributeError):
        profile.retries = 3  # type: ignore[misc]
