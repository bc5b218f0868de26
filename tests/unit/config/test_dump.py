"""Whatever a profile may say, written back and read again, is the same."""

from __future__ import annotations

import ipaddress
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from trio_lb.config import (
    Address,
    Algorithm,
    ForwardedField,
    HealthCheck,
    Limits,
    Listen,
    Profile,
    Server,
    Timeouts,
    Upstream,
    dump_profile,
    parse_profile,
)

_DURATIONS = st.one_of(
    st.integers(1, 10**8).map(float),
    st.integers(1, 10**6).map(lambda ms: ms / 1000),
    st.floats(1e-6, 1e8),
)
_DURATIONS_OR_ZERO = _DURATIONS | st.just(0.0)
_SIZES = st.integers(1, 10**14) | st.integers(0, 40).map(lambda n: 2**n)
_NAMES = st.text(st.characters(codec="utf-8"), max_size=20).map(
    lambda text: "".join(c for c in text if c.isprintable()).strip()
)
_HOSTS = st.one_of(
    st.ip_addresses().map(str), st.from_regex(r"[a-z]([a-z0-9-]{0,9}[a-z0-9])?", fullmatch=True)
)
_PATHS = st.from_regex(r"/[!-\"$-~]{0,20}", fullmatch=True)
_SOCKETS = st.from_regex(r"/[!-~]{1,30}", fullmatch=True).filter(
    lambda path: not path.endswith("/") and not path.startswith("//")
)
_AUTO: Literal["auto"] = "auto"
_WORKERS = st.just(_AUTO) | st.integers(1, 256)
_UNIX: Literal["unix"] = "unix"
_NETWORKS = st.just(_UNIX) | st.builds(
    lambda address, length: ipaddress.ip_network((address, length), strict=False),
    st.ip_addresses(),
    st.integers(0, 32),
)
_SEND_PROXY: list[Literal["v1", "v2"] | None] = [None, "v1", "v2"]
_STATUSES = st.tuples(st.integers(100, 599), st.integers(0, 100)).map(
    lambda pair: range(pair[0], min(pair[0] + pair[1], 599) + 1)
)


@st.composite
def _profiles(draw: st.DrawFn) -> Profile:
    addresses = draw(
        st.lists(
            st.one_of(
                st.builds(
                    Address,
                    host=_HOSTS,
                    port=st.integers(1, 65535),
                    path=st.just("")
                    | _PATHS.filter(lambda p: "?" not in p).map(lambda p: p.rstrip("/")),
                ),
                st.builds(Address, unix=_SOCKETS),
            ),
            min_size=1,
            max_size=5,
            unique=True,
        )
    )
    servers = []
    for index, address in enumerate(addresses):
        name = draw(_NAMES)
        servers.append(
            Server(
                address=address,
                weight=draw(st.integers(1, 65535)),
                max_connections=draw(st.integers(0, 1_000_000)),
                name=f"{name}{index}" if name else "",
                send_proxy=draw(st.sampled_from(_SEND_PROXY)),
            )
        )
    trusted = draw(st.none() | st.lists(_NETWORKS, min_size=1, max_size=3).map(tuple))
    listen = draw(
        st.sampled_from(
            [
                (Address(host="*", port=0),),
                (Address(host="192.0.2.1", port=0), Address(host="2001:db8::1", port=0)),
                (Address(unix="./here.sock"),),
            ]
        )
    )
    return Profile(
        listen=tuple(
            Listen(
                address=each,
                proxy_protocol=trusted is not None and draw(st.booleans()),
                owner=each.unix and draw(st.none() | st.just("12")),
                group=each.unix and draw(st.none() | st.just("34")),
                mode=draw(st.none() | st.integers(0, 0o777)) if each.unix else None,
            )
            for each in listen
        ),
        trusted_proxies=trusted,
        forwarded=draw(st.sampled_from(ForwardedField)),
        servers=tuple(servers),
        algorithm=draw(st.sampled_from(Algorithm)),
        timeout=draw(_DURATIONS),
        timeouts=draw(
            st.builds(
                Timeouts,
                connect=_DURATIONS,
                client_head=_DURATIONS,
                body=_DURATIONS,
                keep_alive=_DURATIONS_OR_ZERO,
                half_closed=_DURATIONS,
                tunnel=_DURATIONS,
                tunnel_half_closed=_DURATIONS,
                drain=_DURATIONS_OR_ZERO,
            )
        ),
        limits=draw(
            st.builds(
                Limits,
                head=_SIZES,
                headers=st.integers(1, 10_000),
                target=_SIZES,
                body=st.none() | st.just(0) | _SIZES,
                min_rate=st.none() | _SIZES,
                clients=st.none() | st.integers(1, 10_000_000),
                clients_per_address=st.none() | st.integers(1, 10_000_000),
                requests_per_connection=st.none() | st.integers(1, 1_000_000_000),
            )
        ),
        retries=draw(st.integers(0, 100)),
        replay_body=draw(_SIZES | st.just(0)),
        upstream=draw(
            st.builds(
                Upstream, idle_connections=st.integers(0, 65535), idle_timeout=_DURATIONS_OR_ZERO
            )
        ),
        health_check=draw(
            st.builds(
                HealthCheck,
                interval=_DURATIONS,
                timeout=_DURATIONS,
                method=st.sampled_from(["GET", "HEAD", "OPTIONS"]),
                path=_PATHS,
                host=st.sampled_from([None, "a", "app.example:8080", "[::1]:1"]),
                headers=st.dictionaries(
                    st.sampled_from(["X-A", "Authorization"]), st.sampled_from(["$x ${y}", "1: 2"])
                ),
                statuses=st.lists(_STATUSES, min_size=1, max_size=3).map(tuple),
                rise=st.integers(1, 1000),
                fall=st.integers(1, 1000),
                jitter=st.floats(0, 1).map(lambda share: round(share, 12)),
                enabled=st.booleans(),
            )
        ),
        workers=draw(_WORKERS),
        pid_file=draw(st.sampled_from([None, "trio-lb.pid", "/run/$x ${y}: #z"])),
        user=draw(st.sampled_from([None, "www-data", "nobody:adm", "3", "1:2"])),
        unavailable_status=draw(st.integers(400, 599)),
        access_log=draw(st.sampled_from([None, "-", "off.log", "/var/log/${x} $y: #z", "3"])),
        fast_path=draw(st.booleans()),
        access_log_format=draw(st.sampled_from(["combined", "json"])),
        report_interval=draw(_DURATIONS),
        log_level=draw(st.sampled_from(["debug", "info", "warning", "error", "critical"])),
    )


@given(_profiles())
def test_what_is_dumped_reads_back_as_the_same(profile: Profile) -> None:
    text = dump_profile(profile)
    assert parse_profile(text, environ={}) == profile
    assert dump_profile(parse_profile(text, environ={})) == text
