"""The Forwarded field of RFC 7239."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_lb.http.forwarded import Element, node, parse, parse_node, write

RIGHT: dict[bytes, list[Element]] = {
    # Section 4.
    b'for="_gazonk"': [{b"for": b"_gazonk"}],
    b'For="[2001:db8:cafe::17]:4711"': [{b"for": b"[2001:db8:cafe::17]:4711"}],
    b"for=192.0.2.60;proto=http;by=203.0.113.43": [
        {b"for": b"192.0.2.60", b"proto": b"http", b"by": b"203.0.113.43"}
    ],
    b"for=192.0.2.43, for=198.51.100.17": [{b"for": b"192.0.2.43"}, {b"for": b"198.51.100.17"}],
    b'for=_hidden, for=_SEVKISEK, for="unknown:_x"': [
        {b"for": b"_hidden"},
        {b"for": b"_SEVKISEK"},
        {b"for": b"unknown:_x"},
    ],
    # Lists with nothing between their commas, and elements with nothing between semicolons.
    b"": [],
    b" ,\t, ": [],
    b",for=1.2.3.4,, ;host=a;;": [{b"for": b"1.2.3.4"}, {b"host": b"a"}],
    b"host=a ; proto=http": [{b"host": b"a", b"proto": b"http"}],
    # Quotes hide separators and escapes.
    b'host="a,b;c=\\"\\\\",x=""': [{b"host": b'a,b;c="\\'}, {b"x": b""}],
    b"secret=a!#$%&'*+-.^_`|~": [{b"secret": b"a!#$%&'*+-.^_`|~"}],
}

WRONG = [
    b"for",
    b"for=",
    b"=a",
    b"for =1.2.3.4",
    b"host= a",
    b"host=a b",
    b'host="a',
    b'host="a"b',
    b'host="a\\"',
    b'host="\xe4"',
    b'host="\x01"',
    b'"host"=a',
    b"host=a:80",
    b"host=[::1]",
    b"for=::1",
    b'for="::1"',
    b'for="[::1"',
    b'for="[::g]"',
    b'for="[fe80::1%a]"',
    b"for=1.2.3",
    b"for=1.2.3.256",
    b'for="1.2.3.4:"',
    b'for="1.2.3.4:123456"',
    b"for=hidden",
    b"for=_",
    b'for=""',
    b"by=here",
    b"for=1.2.3.4;for=1.2.3.4",
    b"host=a;HOST=b",
    b"for=1.2.3.4 for=1.2.3.4",
    b"for=1.2.3.4/host=a",
]


@pytest.mark.parametrize("value", RIGHT)
def test_right(value: bytes) -> None:
    assert parse(value) == RIGHT[value]


@pytest.mark.parametrize("value", WRONG)
def test_wrong_wherever_it_stands(value: bytes) -> None:
    for each in (value, b"host=a, " + value, value + b", host=a"):
        with pytest.raises(ValueError, match="Forwarded"):
            parse(each)


def test_what_is_no_token_is_quoted() -> None:
    element = {b"for": node("2001:db8::1"), b"proto": b"http", b"host": b"a:80"}
    assert write([element]) == b'for="[2001:db8::1]";proto=http;host="a:80"'
    assert write([{b"x": b'"\\'}, {b"y": b""}]) == b'x="\\"\\\\", y=""'


@pytest.mark.parametrize("element", [{b"a b": b"x"}, {b"a": b"\n"}, {b"a": b"\xe4"}, {b"": b"x"}])
def test_what_can_not_be_said_is_not_written(element: Element) -> None:
    with pytest.raises(ValueError, match="can't be said"):
        write([element])


def test_nodes() -> None:
    assert node("192.0.2.1") == b"192.0.2.1"
    assert node("192.0.2.1", 80) == b"192.0.2.1:80"
    assert node("::1", 80) == b"[::1]:80"
    assert node(None) == b"unknown"
    assert parse_node(b"192.0.2.1:80") == "192.0.2.1"
    assert parse_node(b"[2001:DB8::0:1]:_p") == "2001:db8::1"
    assert parse_node(b"_hidden") is parse_node(b"UNKNOWN") is None


NAMES = st.from_regex(rb"[a-z0-9!#$%&'*+.^_`|~-]{1,8}", fullmatch=True).filter(
    lambda name: name not in (b"for", b"by")
)
VALUES = st.from_regex(rb"[\t -~]{0,12}", fullmatch=True)
NODES = st.builds(
    lambda address, port: node(str(address), port), st.ip_addresses(), st.integers(0, 65535)
)
ELEMENTS = st.tuples(
    st.dictionaries(NAMES, VALUES, min_size=1, max_size=4),
    st.dictionaries(st.sampled_from([b"for", b"by"]), NODES),
).map(lambda pair: pair[0] | pair[1])


@given(st.lists(ELEMENTS, max_size=4))
def test_what_is_written_is_read(elements: list[Element]) -> None:
    assert parse(write(elements)) == elements


@given(st.lists(st.sampled_from([b"for=", b"a=", b'"', b"\\", b";", b",", b" ", b"1.2.3.4", b"b"])))
def test_what_is_read_is_written_with_the_same_meaning(pieces: list[bytes]) -> None:
    try:
        elements = parse(b"".join(pieces))
    except ValueError:
        return
    assert parse(write(elements)) == elements


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        elements = parse(data)
    except ValueError:
        return
    assert parse(write(elements)) == elements
