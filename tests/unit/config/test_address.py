"""Addresses: their forms, and when a server is the load balancer itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_lb.config.address import leads_back, parse_listen_address, parse_server_address
from trio_lb.plan import Address


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("http://127.0.0.1:3001", "http://127.0.0.1:3001"),
        ("HTTP://Example.COM", "http://example.com:80"),
        ("http://a/", "http://a:80"),
        ("http://a:1/api/", "http://a:1/api"),
        ("http://a:0001", "http://a:1"),
        ("http://my_app-1.local.:80", "http://my_app-1.local.:80"),
        ("http://[::1]", "http://[::1]:80"),
        ("http://[0:0::1]:8080/x", "http://[::1]:8080/x"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("unix:///run/app.sock", "unix:/run/app.sock"),
        ("UNIX:./app.sock", "unix:./app.sock"),
    ],
)
def test_servers(text: str, canonical: str) -> None:
    address = parse_server_address(text)
    assert str(address) == canonical
    assert parse_server_address(canonical) == address


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://*:8000", "http://*:8000"),
        ("http://:8000", "http://*:8000"),
        ("http://*", "http://*:80"),
        ("http://0.0.0.0:0/", "http://0.0.0.0:0"),
        ("http://[::]:8000", "http://[::]:8000"),
        ("http://localhost:8000", "http://localhost:8000"),
    ],
)
def test_listen(text: str, canonical: str) -> None:
    address = parse_listen_address(text)
    assert str(address) == canonical
    assert parse_listen_address(canonical) == address


def test_parts() -> None:
    address = parse_server_address("http://[2001:DB8::1]:3001/x")
    assert (address.scheme, address.host, address.port) == ("http", "2001:db8::1", 3001)
    assert (address.path, address.unix) == ("/x", None)
    socket = parse_server_address("unix:/a b")
    assert (socket.unix, socket.host, socket.port, socket.path) == ("/a b", "", 0, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "/run/app.sock",
        "http:/a",
        "http:///x",
        "http://:x",
        "http://a:-1",
        "http://a:٣",
        "http://a:1:2",
        "http://[::1",
        "http://[::1]x",
        "http://[::1]:",
        "http://[fe80::1%eth0]",
        "http://[127.0.0.1]",
        "http://-a",
        "http://a..b",
        "http://a b",
        "http://a\n",
        "http://a/\x00",
        "http://a/é",
        "http://é",
        "http://a#b",
        "http://127.1",
        "http://" + "a" * 64,
        "http://" + "a." * 127 + "a",
        "unix:app.sock",
        "unix://host/app.sock",
        "unix:/run/",
        "unix:/a\nb",
    ],
)
def test_wrong(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_server_address(text)
    with pytest.raises(ValueError, match="expected"):
        parse_listen_address(text)


@pytest.mark.parametrize(
    ("text", "server", "listener"),
    [
        ("a:3000", "http://a:3000", "http://a:3000"),
        ("a:3000/b", "http://a:3000/b", None),
        ("localhost", "http://localhost", "http://localhost"),
        ("[::1]:3000", "http://[::1]:3000", "http://[::1]:3000"),
        (":3000", "http://127.0.0.1:3000", "http://:3000"),
        ("*:3000", "http://127.0.0.1:3000", "http://*:3000"),
        ("3000", "http://127.0.0.1:3000", "http://:3000"),
        ("a:0", None, "http://a:0"),
        (":0", None, "http://:0"),
        (":99999", None, None),
        ("/run/app.sock", "unix:/run/app.sock", "unix:/run/app.sock"),
        ("./app.sock", "unix:./app.sock", "unix:./app.sock"),
        ("app.sock", "unix:./app.sock", "unix:./app.sock"),
        ("unix:80", None, None),
        ("http:80", None, None),
        ("tcp://a", None, None),
        ("a b", None, None),
    ],
)
def test_what_was_meant_is_told_and_is_right(
    text: str, server: str | None, listener: str | None
) -> None:
    for read, meant in ((parse_server_address, server), (parse_listen_address, listener)):
        with pytest.raises(ValueError, match="expected") as error:
            read(text)
        if meant is None:
            assert "did you mean" not in str(error.value)
        else:
            assert str(error.value).endswith(f' (did you mean "{meant}"?)')
            read(meant)


def test_a_server_on_every_interface_is_told_as_the_one_that_is_meant() -> None:
    for text in ("http://:3000", "http://*:3000"):
        with pytest.raises(
            ValueError, match=r'host of .* \(did you mean "http://127\.0\.0\.1:3000"'
        ):
            parse_server_address(text)


@given(st.text(max_size=30).map(lambda text: f"http://{text}") | st.text(max_size=30))
def test_any_text_is_an_address_or_an_expectation(text: str) -> None:
    address, expectation = _parse(text)
    if address is None:
        assert "expected" in expectation
    else:
        assert parse_server_address(str(address)) == address


def _parse(text: str) -> tuple[Address | None, str]:
    try:
        return parse_server_address(text), ""
    except ValueError as error:
        return None, str(error)


@pytest.mark.parametrize(
    ("server", "listen", "loop"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", True),
        ("http://127.0.0.1:8001", "http://127.0.0.1:8000", False),
        ("http://app:8000", "http://app:8000", True),
        ("http://app:8000", "http://*:8000", False),
        ("http://127.0.0.1:8000", "http://*:8000", True),
        ("http://[::1]:8000", "http://*:8000", True),
        ("http://127.0.0.1:8000", "http://0.0.0.0:8000", True),
        ("http://0.0.0.0:8000", "http://127.0.0.1:8000", True),
        ("http://[::1]:8000", "http://127.0.0.1:8000", False),
        ("http://[::1]:8000", "http://0.0.0.0:8000", False),
        ("http://127.0.0.2:8000", "http://127.0.0.1:8000", False),
        ("http://localhost:8000", "http://127.0.0.1:8000", True),
        ("http://127.0.0.1:8000", "http://localhost:8000", True),
        ("http://localhost:8000", "http://192.0.2.1:8000", False),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", "unix:/b", False),
        ("unix:/a", "http://*:8000", False),
    ],
)
def test_leads_back(server: str, listen: str, loop: bool) -> None:
    assert leads_back(parse_server_address(server), parse_listen_address(listen)) is loop


def test_addresses_are_values() -> None:
    assert len({parse_server_address("http://A"), Address(host="a", port=80)}) == 1
