"""Who a request is from, and what servers are told about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_lb.config import compile_plan, parse_profile
from trio_lb.http.identity import UNIX, ClientIdentity, Identification, Peer
from trio_lb.http.proxy_protocol import LOCAL, Endpoint, ProxyHeader
from trio_lb.plan import ForwardedField

if TYPE_CHECKING:
    from trio_lb.http.heads import Field

OURS = ("192.0.2.80", 8000)
TRUSTED = "[10.0.0.0/8, 2001:db8::/32]"


def identification(trusted: str = TRUSTED, forwarded: str = "off") -> Identification:
    text = f"{{servers: [http://a], trusted_proxies: {trusted}, forwarded: {forwarded}}}"
    identity = compile_plan(parse_profile(text)).clients.identity
    return Identification(identity.networks(), identity.forwarded)


def fields(*lines: str) -> list[Field]:
    pairs = [line.encode("latin-1").partition(b": ") for line in lines]
    return [(name, name.lower(), value) for name, _, value in pairs]


def identify(
    peer: str,
    *lines: str,
    host: bytes | None = b"example.org",
    trusted: str = TRUSTED,
    forwarded: str = "off",
) -> ClientIdentity:
    """The client of a request with these lines that comes from `peer`."""
    who = identification(trusted, forwarded)
    unix = peer == UNIX
    met = who.peer(None, None) if unix else who.peer((peer, 50000), OURS)
    return who.identify(met, fields(*lines), host)


def told(client: ClientIdentity) -> dict[str, str]:
    """What servers are told, each field once."""
    assert len(dict(client.lines)) == len(client.lines)
    return {name.decode(): value.decode() for name, value in client.lines}


CLAIMS = (
    "X-Forwarded-For: 198.51.100.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: www.example.org",
    "X-Forwarded-Port: 443",
    "X-Forwarded-Server: edge",
    "X-Real-IP: 198.51.100.7",
    "Forwarded: for=198.51.100.7",
)


@pytest.mark.parametrize("trusted", ["off", TRUSTED, "unix", "203.0.113.0/30"])
def test_nobody_else_is_believed(trusted: str) -> None:
    client = identify("203.0.113.9", *CLAIMS, trusted=trusted)
    assert client.address == "203.0.113.9"
    assert told(client) == {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "example.org",
        "X-Real-IP": "203.0.113.9",
    }
    assert client.ends == ProxyHeader(Endpoint("203.0.113.9", 50000), Endpoint(*OURS))


def test_a_trusted_proxy_is_believed() -> None:
    client = identify("10.0.0.1", *CLAIMS)
    assert client.address == "198.51.100.7"
    assert told(client) == {
        "X-Forwarded-For": "198.51.100.7, 10.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "www.example.org",
        "X-Forwarded-Port": "443",
        "X-Real-IP": "198.51.100.7",
    }
    assert client.ends == ProxyHeader(Endpoint("198.51.100.7", 0))


def test_a_trusted_proxy_that_says_nothing_is_the_client() -> None:
    client = identify("10.0.0.1", "X-Real-IP: 1.1.1.1", host=None)
    assert client.address == "10.0.0.1"
    assert told(client) == {
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Proto": "http",
        "X-Real-IP": "10.0.0.1",
    }
    assert client.ends == ProxyHeader(Endpoint("10.0.0.1", 50000), Endpoint(*OURS))


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("127.0.0.1, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("127.0.0.1,198.51.100.7,2001:db8::1,10.0.0.2", "198.51.100.7"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),  # all of them are trusted: the farthest
        ("198.51.100.7, unknown, 10.0.0.2", "10.0.0.2"),
        ("198.51.100.7, _hidden", "10.0.0.1"),
        ("198.51.100.7, garbage, 10.0.0.2", "10.0.0.2"),
        ("198.51.100.7, 10.0.0.256", "10.0.0.1"),
        ("198.51.100.7, 10.0.0.02", "10.0.0.1"),
        ("198.51.100.7 10.0.0.2", "10.0.0.1"),
        ("198.51.100.7, fe80::1%eth0", "10.0.0.1"),
        (", 198.51.100.7 ,,\t10.0.0.2 , ", "198.51.100.7"),
        ("198.51.100.7:4711, 10.0.0.2:80", "198.51.100.7"),
        ("2001:DB9:0::7", "2001:db9::7"),
        ("[2001:db9::7]", "2001:db9::7"),
        ("[2001:db9::7]:4711", "2001:db9::7"),
        ("198.51.100.7, ::ffff:10.0.0.2", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("", "10.0.0.1"),
        (",", "10.0.0.1"),
    ],
)
def test_the_last_hop_that_is_not_trusted_is_the_client(hops: str, client: str) -> None:
    assert identify("10.0.0.1", f"X-Forwarded-For: {hops}").address == client
    assert told(identify("10.0.0.1", f"X-Forwarded-For: {hops}"))["X-Real-IP"] == client


def test_several_lines_are_one_list() -> None:
    client = identify("10.0.0.1", "x-forwarded-for: 198.51.100.7", "X-FORWARDED-FOR: 10.0.0.2")
    assert client.address == "198.51.100.7"
    assert told(client)["X-Forwarded-For"] == "198.51.100.7, 10.0.0.2, 10.0.0.1"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("X-Forwarded-Proto: HTTPS", "HTTPS"),
        ("X-Forwarded-Proto: wss", "wss"),
        ("X-Forwarded-Proto: ftp", "http"),
        ("X-Forwarded-Proto: https, http", "http"),
        ("X-Forwarded-Proto: ", "http"),
        ("X-Forwarded-Host: [::1]:80", "[::1]:80"),
        ("X-Forwarded-Host: a.example:8080", "a.example:8080"),
        ("X-Forwarded-Host: a, b", "example.org"),
        ("X-Forwarded-Host: a/b", "example.org"),
        ("X-Forwarded-Host: me@a", "example.org"),
        ("X-Forwarded-Host: a:port", "example.org"),
        ("X-Forwarded-Host: a:", "example.org"),
        ("X-Forwarded-Host: ", "example.org"),
        ("X-Forwarded-Host: \xe4", "example.org"),
        ("X-Forwarded-Port: 65535", "65535"),
        ("X-Forwarded-Port: 0", None),
        ("X-Forwarded-Port: 65536", None),
        ("X-Forwarded-Port: +1", None),
        ("X-Forwarded-For: 198.51.100.7, \xe4", "10.0.0.1"),
    ],
)
def test_a_claim_counts_if_its_syntax_is_right(line: str, said: str | None) -> None:
    assert told(identify("10.0.0.1", line)).get(line.partition(":")[0]) == said


def test_what_may_be_there_once_and_is_there_twice_does_not_count() -> None:
    lines = ("X-Forwarded-Proto: https", "X-Forwarded-Proto: https")
    assert told(identify("10.0.0.1", *lines))["X-Forwarded-Proto"] == "http"


def test_other_fields_with_such_values_are_no_claims() -> None:
    assert identify("10.0.0.1", "X_Forwarded_For: 1.1.1.1", "For: 1.1.1.1").address == "10.0.0.1"


def test_unix_sockets() -> None:
    nobody = identify(UNIX, *CLAIMS)
    assert nobody.address == UNIX
    assert told(nobody)["X-Forwarded-For"] == told(nobody)["X-Real-IP"] == "unknown"
    assert nobody.ends == ProxyHeader()
    proxy = identify(UNIX, *CLAIMS, trusted="unix")
    assert proxy.address == told(proxy)["X-Real-IP"] == "198.51.100.7"
    assert told(proxy)["X-Forwarded-For"] == "198.51.100.7"  # it has no address to add
    silent = identify(UNIX, trusted="unix")
    assert (silent.address, told(silent)["X-Forwarded-For"]) == (UNIX, "unknown")
    # Of TCP, nobody is trusted then.
    assert identify("10.0.0.1", *CLAIMS, trusted="unix").address == "10.0.0.1"


def test_peers_in_other_forms() -> None:
    assert identify("::ffff:10.0.0.1", *CLAIMS).address == "198.51.100.7"
    assert identify("::ffff:203.0.113.9", *CLAIMS).address == "203.0.113.9"
    assert told(identify("fe80::1%eth0"))["X-Forwarded-For"] == "fe80::1"
    assert identify("2001:db8::5", *CLAIMS).address == "198.51.100.7"


# Forwarded


def test_forwarded_is_added_or_goes_alone() -> None:
    element = 'for=203.0.113.9;proto=http;host=example.org;by="192.0.2.80:8000"'
    on = told(identify("203.0.113.9", *CLAIMS, forwarded="on"))
    assert on["Forwarded"] == element
    assert on["X-Forwarded-For"] == "203.0.113.9"
    assert told(identify("203.0.113.9", *CLAIMS, forwarded="only")) == {"Forwarded": element}


def test_forwarded_of_a_trusted_proxy_is_added_to() -> None:
    lines = ('Forwarded: For="[2001:db9::7]:80" ; secret="a b"', "Forwarded: for=10.0.0.2")
    for forwarded in ("on", "only"):
        client = identify("2001:db8::1", *lines, forwarded=forwarded, host=b"a:80")
        assert told(client)["Forwarded"] == (
            'for="[2001:db9::7]:80";secret="a b", for=10.0.0.2, '
            'for="[2001:db8::1]";proto=http;host="a:80";by="192.0.2.80:8000"'
        )
        # With both, the list that counts is that of X-Forwarded-For, which is not there.
        assert client.address == ("2001:db9::7" if forwarded == "only" else "2001:db8::1")


@pytest.mark.parametrize("value", ["for=198.51.100.7, for=garbage", "for=198.51.100.7;", "\xe4"])
def test_forwarded_that_is_malformed_is_left_out_as_a_whole(value: str) -> None:
    client = identify("10.0.0.1", f"Forwarded: {value}", forwarded="only", host=None)
    right = value.endswith(";")
    assert client.address == ("198.51.100.7" if right else "10.0.0.1")
    assert ("198.51.100.7" in told(client)["Forwarded"]) == right


def test_hops_of_forwarded_that_hide() -> None:
    for hop in ("for=unknown", "for=_a", "proto=https"):
        lines = (f"Forwarded: for=198.51.100.7, {hop}, for=10.0.0.2",)
        assert identify("10.0.0.1", *lines, forwarded="only").address == "10.0.0.2"


def test_forwarded_of_who_has_no_address() -> None:
    assert told(identify(UNIX, forwarded="only", host=None))["Forwarded"] == (
        "for=unknown;proto=http"
    )


# PROXY headers


def test_a_proxy_header_takes_the_place_of_the_peer() -> None:
    who = identification()
    proxy = who.peer(("10.0.0.1", 50000), OURS)
    ends = ProxyHeader(Endpoint("198.51.100.7", 4711), Endpoint("198.51.100.1", 443))
    assert who.peer_behind(ends, proxy) == Peer("198.51.100.7", False, ends)
    assert who.peer_behind(LOCAL, proxy) is proxy
    assert who.peer_behind(ProxyHeader(), proxy) == Peer(UNIX, False, ProxyHeader())
    mapped = ProxyHeader(Endpoint("::ffff:10.0.0.9", 1), Endpoint("::1", 1))
    assert who.peer_behind(mapped, proxy)[:2] == ("10.0.0.9", True)
    # Who is at a unix socket of another machine is not trusted for that.
    assert not identification("[10.0.0.0/8, unix]").peer_behind(ProxyHeader(), proxy).trusted


@given(
    st.lists(st.ip_addresses(v=4).map(str), max_size=5),
    st.lists(st.integers(0, 2**24 - 1), min_size=1, max_size=5),
    st.sampled_from(ForwardedField),
)
def test_what_a_client_claims_never_makes_it_another(
    lies: list[str], proxies: list[int], field: ForwardedField
) -> None:
    """Through any chain of trusted proxies that add what they see."""
    client = "198.51.100.7"
    chain = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in proxies]
    seen = [*lies, client, *chain[:-1]]
    claims = (
        f"X-Forwarded-For: {', '.join(seen)}",
        f"Forwarded: {', '.join(f'for={hop}' for hop in seen)}",
    )
    got = identify(chain[-1], *claims, forwarded=str(field))
    assert got.address == client
    assert got.ends == ProxyHeader(Endpoint(client, 0))
