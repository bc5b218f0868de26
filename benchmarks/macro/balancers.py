"""The balancers that are compared, and their configurations.

A new peer is one function that writes its configuration and returns its command, and one line in
`PEERS`, or in `PROGRAMS` if its program has to be told. Each has one worker, keeps connections to
servers, and says for whom it forwards; those that can, check the servers every 10 s.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.floor.build import compiled
from benchmarks.macro.peers import ROOT, Peer, Site, nginx, websocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from benchmarks.macro.peers import Backends

#: Idle connections to servers that a balancer may keep: HAProxy and the relays have no bound, so
#: the others get one that does not bind either.
IDLE = 1024


def _trio_lb(
    setting: str,
    site: Site,
    *,
    servers: Callable[[Backends], Iterable[str]] | None = None,
    idle: int = IDLE,
    workers: int = 1,
) -> list[str]:
    profile = site.directory / "profile.yaml"
    listed = "".join(f"  - {server}\n" for server in (servers or _by_address)(site.backends))
    profile.write_text(
        f"listen: http://127.0.0.1:{site.port}\nalgorithm: round_robin\nworkers: {workers}\n"
        f"{setting.format(directory=site.directory)}\nhealth_check: {{interval: 10s}}\n"
        f"upstream: {{idle_connections: {idle}}}\nservers:\n{listed}"
    )
    return [sys.executable, "-m", "trio_lb", "start", "-p", str(profile)]


def _by_address(backends: Backends) -> Iterable[str]:
    return (f"http://127.0.0.1:{port}" for port in backends.ports)


def _by_name(backends: Backends) -> Iterable[str]:
    return (f"http://localhost:{port}" for port in backends.ports)


def _by_socket(backends: Backends) -> Iterable[str]:
    return (f"unix:{path}" for path in backends.sockets)


def _with_header(backends: Backends) -> Iterable[str]:
    return (f"{{url: 'http://127.0.0.1:{port}', send_proxy: v2}}" for port in backends.proxied)


def _bare_relay(site: Site) -> list[str]:
    relay = Path(__file__).with_name("bare_relay.py")
    return [sys.executable, str(relay), str(site.port), *map(str, site.servers)]


def _aiohttp(site: Site) -> list[str]:
    proxy = Path(__file__).with_name("aiohttp_proxy.py")
    return [sys.executable, str(proxy), str(site.port), *map(str, site.servers)]


#: What trio-lb tells servers and clients by default, and HAProxy only when asked.
SAME_FIELDS = """  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Real-IP %[src]
  http-request add-header Via "1.1 haproxy"
  http-response add-header Via "1.1 haproxy"
  unique-id-format %pid-%rt
  unique-id-header X-Request-ID
"""


def _haproxy(
    fields: str,
    site: Site,
    *,
    servers: Callable[[Backends], Iterable[str]] | None = None,
    threads: int = 1,
) -> list[str]:
    configuration = site.directory / "haproxy.cfg"
    listed = "".join(
        f"  server s{number} {server} check inter 10s\n"
        for number, server in enumerate((servers or _haproxy_address)(site.backends))
    )
    configuration.write_text(
        f"global\n  nbthread {threads}\n  maxconn 4096\n"
        "defaults\n  mode http\n  http-reuse always\n  option forwardfor\n"
        "  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n"
        f"frontend in\n  bind 127.0.0.1:{site.port}\n  default_backend out\n{fields}"
        f"backend out\n  balance roundrobin\n"
        f"  option httpchk GET /\n{listed}"
    )
    return ["haproxy", "-db", "-f", str(configuration)]


def _haproxy_address(backends: Backends) -> Iterable[str]:
    return (f"127.0.0.1:{port}" for port in backends.ports)


def _haproxy_name(backends: Backends) -> Iterable[str]:
    return (f"localhost:{port}" for port in backends.ports)


def _haproxy_socket(backends: Backends) -> Iterable[str]:
    return (f"unix@{path}" for path in backends.sockets)


def _haproxy_header(backends: Backends) -> Iterable[str]:
    return (f"127.0.0.1:{port} send-proxy-v2" for port in backends.proxied)


def _nginx(site: Site) -> list[str]:
    servers = "".join(f"    server 127.0.0.1:{port};\n" for port in site.servers)
    return nginx(
        site.directory,
        f"  upstream out {{\n{servers}    keepalive {IDLE};\n"
        "    keepalive_requests 1000000000;\n  }\n"
        f"  server {{\n    listen 127.0.0.1:{site.port} backlog=4096;\n"
        "    location / {\n      proxy_pass http://out;\n      proxy_http_version 1.1;\n"
        '      proxy_set_header Connection "";\n'
        "      proxy_set_header X-Forwarded-For $remote_addr;\n"
        # Large bodies stay off the disk. Those of requests are collected before they are passed on,
        # as by default; `proxy_request_buffering off` takes twice the CPU time.
        "      proxy_max_temp_file_size 0;\n      client_body_buffer_size 2m;\n    }\n"
        f"    location = /websocket {{\n{websocket('http://out')}    }}\n  }}\n",
    )


def _haproxy_at(program: Path, site: Site) -> list[str]:
    return [os.fspath(program), *_haproxy("", site)[1:]]


def _nginx_at(program: Path, site: Site) -> list[str]:
    return [os.fspath(program), *_nginx(site)[1:]]


def _envoy(program: Path, site: Site) -> list[str]:
    endpoints = "".join(
        f"        - endpoint: {{address: {_envoy_address(port)}}}\n" for port in site.servers
    )
    configuration = site.directory / "envoy.yaml"
    configuration.write_text(_ENVOY.format(address=_envoy_address(site.port), endpoints=endpoints))
    options = ["--concurrency", "1", "--log-level", "warn", "--disable-hot-restart"]
    return [os.fspath(program), "-c", str(configuration), *options]


def _envoy_address(port: int) -> str:
    return f"{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"


_HTTP_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
    ".HttpConnectionManager"
)
_ENVOY = f"""static_resources:
  listeners:
  - address: {{address}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {_HTTP_MANAGER}
          stat_prefix: in
          use_remote_address: true
          upgrade_configs: [{{{{upgrade_type: websocket}}}}]
          http_protocol_options: {{{{accept_http_10: true}}}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{{{match: {{{{prefix: /}}}}, route: {{{{cluster: out}}}}}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: out
    type: STATIC
    connect_timeout: 2s
    lb_policy: ROUND_ROBIN
    health_checks:
    - timeout: 2s
      interval: 10s
      unhealthy_threshold: 3
      healthy_threshold: 1
      http_health_check: {{{{path: /, expected_statuses: [{{{{start: 200, end: 300}}}}]}}}}
    load_assignment:
      cluster_name: out
      endpoints:
      - lb_endpoints:
{{endpoints}}"""


def _caddy(program: Path, site: Site) -> list[str]:
    configuration = site.directory / "Caddyfile"
    configuration.write_text(
        "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}\n"
        f"http://:{site.port} {{\n\tbind 127.0.0.1\n"
        f"\treverse_proxy {' '.join(f'127.0.0.1:{port}' for port in site.servers)} {{\n"
        "\t\tlb_policy round_robin\n\t\thealth_uri /\n\t\thealth_interval 10s\n"
        f"\t\ttransport http {{\n\t\t\tkeepalive_idle_conns_per_host {IDLE}\n\t\t}}\n\t}}\n}}\n"
    )
    command = [os.fspath(program), "run", "--adapter", "caddyfile", "--config", str(configuration)]
    return ["env", "GOMAXPROCS=1", *command]


def _pingora(program: Path, site: Site) -> list[str]:
    """A program of whoever runs this, on pingora: its port and the servers' are its arguments."""
    return [os.fspath(program), str(site.port), *map(str, site.servers)]


def _floor(site: Site) -> list[str]:
    relay = compiled(ROOT / "benchmarks" / "floor" / "relay.c", site.directory)
    return [str(relay), str(site.port), *map(str, site.servers)]


def _balrs(program: Path, site: Site) -> list[str]:
    servers = ", ".join(f"http://127.0.0.1:{port}" for port in site.servers)
    (site.directory / "config.yaml").write_text(
        f"load balancer: http://127.0.0.1:{site.port}\nalgorithm: round_robin\n"
        f"servers: {servers}\nweights: 1, 1, 1\nmax connections: 100000, 100000, 100000\n"
        "timeout: 10\nhealth check interval: 10\n"
    )
    # It reads its file from where it is, and prints each message, bodies included.
    script = 'cd "$1" && exec "$0" start >/dev/null'
    return ["sh", "-c", script, str(program.resolve()), str(site.directory)]


PEERS: dict[str, Peer | None] = {
    "trio-lb": Peer(partial(_trio_lb, "fast_path: on")),
    "trio-lb-slow": Peer(partial(_trio_lb, "fast_path: off")),
    "haproxy": Peer(partial(_haproxy, ""), ("haproxy", "-v")),
    "nginx": Peer(_nginx, ("nginx", "-v")),
    "floor": Peer(_floor, ("gcc", "--version")),
    "aiohttp": Peer(_aiohttp),
    "bare_relay": Peer(_bare_relay),
    "direct": None,
}


def _haproxy_with(**settings: Any) -> Peer:
    return Peer(partial(_haproxy, "", **settings), ("haproxy", "-v"))


#: Others, that take part when they are named: NAME+SETTING is a variant of another.
BESIDES: dict[str, Peer | None] = {
    "haproxy-same": Peer(partial(_haproxy, SAME_FIELDS), ("haproxy", "-v")),
    "trio-lb+combined": Peer(partial(_trio_lb, "access_log: {directory}/access.log")),
    # A connection for each request: to an address, to a name, and without the fast path.
    "trio-lb+fresh": Peer(partial(_trio_lb, "fast_path: on", idle=0)),
    "trio-lb+fresh-named": Peer(partial(_trio_lb, "fast_path: on", idle=0, servers=_by_name)),
    "trio-lb+fresh-slow": Peer(partial(_trio_lb, "fast_path: off", idle=0)),
    "trio-lb+forwarded": Peer(partial(_trio_lb, "forwarded: on")),
    "trio-lb+send_proxy": Peer(partial(_trio_lb, "", servers=_with_header)),
    "trio-lb+named": Peer(partial(_trio_lb, "", servers=_by_name)),
    "trio-lb+unix": Peer(partial(_trio_lb, "", servers=_by_socket)),
    "trio-lb+2": Peer(partial(_trio_lb, "", workers=2)),
    "haproxy+send_proxy": _haproxy_with(servers=_haproxy_header),
    "haproxy+named": _haproxy_with(servers=_haproxy_name),
    "haproxy+unix": _haproxy_with(servers=_haproxy_socket),
    "haproxy+2": _haproxy_with(threads=2),
    "trio-lb+json": Peer(
        partial(_trio_lb, "access_log: {directory}/access.log\naccess_log_format: json")
    ),
}


#: Those whose program is told by its path: `--program NAME=PATH`.
PROGRAMS: dict[str, tuple[Callable[[Path, Site], list[str]], tuple[str, ...]]] = {
    "haproxy-new": (_haproxy_at, ("-v",)),
    "nginx-new": (_nginx_at, ("-v",)),
    "pingora": (_pingora, ()),
    "envoy": (_envoy, ("--version",)),
    "caddy": (_caddy, ("version",)),
    "balrs": (_balrs, ()),
}


def with_programs(programs: Mapping[str, Path]) -> dict[str, Peer | None]:
    """Returns all usual peers, and those whose program is given."""
    peers = dict(PEERS)
    for name, program in programs.items():
        set_up, arguments = PROGRAMS[name]
        version = (os.fspath(program.resolve()), *arguments) if arguments else ()
        peers[name] = Peer(partial(set_up, program.resolve()), version)
    return peers
