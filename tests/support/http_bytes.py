"""Strategies for heads and chunked bodies: plain ones, and ones that something happened to."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

#: Bytes that mean something to a parser, or look as if they did.
ODD_BYTES = bytes(range(0x21)) + b'"#%,-/01:;=@AZ[_az{\x7f\x80\x85\xa0\xff'

METHODS = [b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"]
NAMES = b"""Accept accept-encoding ACCEPT-LANGUAGE User-Agent Cookie Cache-Control Content-Type Date
    Age Server ETag X-Custom Authorization Referer Origin Set-Cookie Upgrade-Insecure-Requests Vim
    Sec-Fetch-Dest Sec-CH-UA-Platform A 1-2 X-Forwarded-Prefix X-Powered-By Hosts If-Match
    Trailer"""
VALUE_BYTES = bytes([*range(0x21, 0x7F), *range(0x80, 0x100)])
WORDS = st.lists(st.sampled_from(VALUE_BYTES), min_size=1, max_size=40).map(bytes)
VALUES = st.lists(st.tuples(st.sampled_from([b"", b" ", b"\t", b"  "]), WORDS), max_size=3).map(
    lambda words: b"".join(map(b"".join, words)).strip(b" \t")
)
ORDINARY = st.tuples(st.sampled_from(NAMES.split()), VALUES)

LENGTHS = st.integers(0, 10**18 - 1).map(lambda length: (b"Content-Length", b"%d" % length))
CHUNKED = st.just((b"Transfer-Encoding", b"chunked"))
CONNECTION = st.sampled_from(
    [(b"Connection", b"keep-alive"), (b"connection", b"Close"), (b"CONNECTION", b"close")]
)
VIA = st.sampled_from([(b"Via", b"1.1 cdn"), (b"via", b"1.0 a, 2 b"), (b"VIA", b"")])
KEEP_ALIVE = st.sampled_from(
    [(b"Keep-Alive", b"timeout=5, max=100"), (b"Proxy-Connection", b"Keep-Alive")]
)
IDENTITY = st.sampled_from(
    [
        (b"X-Forwarded-For", b"1.2.3.4"),
        (b"x-forwarded-host", b"evil"),
        (b"X-Forwarded-Port", b"1"),
        (b"X-FORWARDED-PROTO", b"https"),
        (b"X-Forwarded-Server", b"evil"),
        (b"X-Real-IP", b"::1"),
        (b"Forwarded", b"for=1.2.3.4;host=evil"),
    ]
)
REQUEST_ID = st.sampled_from(
    [(b"X-Request-ID", b"a1b2-c3"), (b"x-request-id", b"0123456789abcdef0123456789abcdef")]
)
HOSTS = st.sampled_from(
    [b"a", b"example.com", b"127.0.0.1:8000", b"localhost:1", b"A-b_c~d.e:65535", b"a" * 255]
)

#: Lines that no plain request has, not beside `Host: a` at least.
SLOW_PATH_FIELDS = rb"""
Host: other
Host:
Host: a b
Host : a
Content-Length: 05
Content-Length: +5
Content-Length: -1
Content-Length: 5, 5
Content-Length:
Content-Length: 0x5
Content-Length: 1_0
Content-Length: 5 5
Content-Length: 9223372036854775808
Content-Length: 1000000000000000000
Content_Length: 5
Transfer-Encoding: Chunked
Transfer-Encoding: gzip, chunked
Transfer-Encoding: chunked, chunked
Transfer-Encoding: chunked, gzip
Transfer-Encoding: identity
Transfer-Encoding: xchunked
Transfer-Encoding: ,chunked
Transfer-Encoding : chunked
Transfer_Encoding: chunked
X_Forwarded_For: evil
X-Forwarded_For: evil
X_Custom: x
Connection:
Connection: close, X-Custom
Connection: X-Custom
Connection: upgrade, X-Custom
Connection: ,close
Connection: close,
Connection: close ,te
Close: x
Proxy: x
Upgrade: websocket
Upgrade: h2c, websocket
Upgrade: h2c/1
Upgrade:
Expect: 100-continue
TE: gzip
TE: trailers, gzip
TE: trailers;q=0.5
TE:
Max-Forwards: 0
Proxy-Authorization: x
Proxy-Authenticate: x
Proxy-Authentication-Info: x
X-Request-ID:
X-Request-ID: a b
 folded
no colon
: no name
Na me: x
Name : x
X-Dot.ted: x
X!: x""".split(b"\n")[1:]
SLOW_PATH_FIELDS += [b"\tfolded", b"X-Request-ID: b\xe4d", b"X-Request-ID: " + b"a" * 129, b"\r"]
SLOW_PATH_FIELDS += [b"N\xe4me: x", b"N\x00me: x", b"Name: \x00", b"Name: a\rb", b"Name: \x7f"]
SLOW_PATH_FIELDS += [b"Name: a\x01b", b"Name: \x0b", b"Name: a\nb"]

#: Lines that are plain in requests, and not in responses.
OFFERS = [b"Connection: keep-alive, close", b"Connection: upgrade", b"Connection: TE,close"]
OFFERS += [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"upgrade: H2C"]
OFFERS += [b"HTTP2-Settings: AAEAAEAA", b"TE: trailers", b"te: Trailers"]

#: Lines that are only spelled strangely, or that must not come twice, or not with each other.
STRANGE_FIELDS = [b"Name:\tx\t", b"Name:", b"Name: ", b"Name:x", b"Name:  x  ", b"N" * 300 + b": x"]
STRANGE_FIELDS += [b"Keep-Alive: x", b"Forwarded: for=1.2.3.4", b"X-Real-IP: evil", b"Via: a"]
STRANGE_FIELDS += [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection: close"]
STRANGE_FIELDS += [b"X-Request-ID: second", b"Via:"]

#: Values of Host, none of which is plain.
SLOW_PATH_HOSTS = [
    b"",
    b"a:65536",
    b"a:99999",
    b"a:100000",
    b"a:",
    b"a:0",
    b"a:080",
    b":80",
    b"[::1]",
]
SLOW_PATH_HOSTS += [
    b"[::1]",
    b"u@a",
    b"a,b",
    b"a%41",
    b"a:b",
    b"a:1:2",
    b"a/b",
    b"a" * 256,
    b"\xe4",
]


def field_name(line: bytes) -> bytes:
    """Of a field line, in lower case."""
    return line.partition(b":")[0].lower()


def line(field: tuple[bytes, bytes]) -> bytes:
    return b"%b: %b" % field


#: A field line as it may be spelled: with other white space around the value.
LINES = st.tuples(
    ORDINARY,
    st.sampled_from([b": ", b": ", b": ", b":", b":\t", b":  "]),
    st.sampled_from([b"", b"", b"", b" ", b"\t "]),
).map(lambda spelled: spelled[0][0] + spelled[1] + spelled[0][1] + spelled[2])


def some(strategy: st.SearchStrategy[tuple[bytes, bytes]]) -> st.SearchStrategy[list[bytes]]:
    """A line or none."""
    return st.lists(strategy.map(line), max_size=1)


@st.composite
def ordinary_requests(draw: st.DrawFn) -> bytes:
    """Heads that are plain, in all that may be in one."""
    method = draw(st.sampled_from(METHODS))
    target_bytes = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))
    target = b"/" + bytes(draw(st.lists(st.sampled_from(target_bytes), max_size=60)))
    host = draw(HOSTS)
    if draw(st.integers(0, 5)) == 0:
        target = b"http://" + host + target
    lines = [line((draw(st.sampled_from([b"Host", b"host", b"HOST"])), host))]
    lines += draw(st.lists(LINES, max_size=8))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    lines += draw(some(LENGTHS if version == b"1.0" else st.one_of(LENGTHS, CHUNKED)))
    for part in (VIA, REQUEST_ID, IDENTITY, IDENTITY, KEEP_ALIVE):
        lines += draw(some(part))
    offers = draw(st.lists(st.sampled_from(OFFERS), max_size=3, unique_by=field_name))
    lines += offers
    if b"connection" not in map(field_name, offers):
        lines += draw(some(CONNECTION))
    start = b"%b %b HTTP/%b" % (method, target, version)
    return b"\r\n".join([start, *draw(st.permutations(lines)), b"", b""])


@st.composite
def ordinary_responses(draw: st.DrawFn, *, interim: bool = False) -> bytes:
    """Heads that are plain."""
    status = draw(st.one_of(st.sampled_from([200, 200, 304, 404, 503]), st.integers(200, 599)))
    if interim:
        status = draw(st.sampled_from([100, 102, 103, 103, 199]))
    reason = draw(st.sampled_from([b" OK", b"", b" ", b" Not Found", b" \t\xfc ", b" a  b"]))
    lines = draw(st.lists(LINES, max_size=8))
    version = b"1.1" if interim else draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    if not interim:
        lines += draw(some(LENGTHS if version == b"1.0" else st.one_of(LENGTHS, CHUNKED)))
        lines += draw(some(CONNECTION))
    for part in (VIA, KEEP_ALIVE, IDENTITY, REQUEST_ID):
        lines += draw(some(part))
    start = b"HTTP/%b %d%b" % (version, status, reason)
    return b"\r\n".join([start, *draw(st.permutations(lines)), b"", b""])


@st.composite
def mutated(draw: st.DrawFn, heads: st.SearchStrategy[bytes]) -> bytes:
    """A plain head after one to three accidents or attacks."""
    data = draw(heads)
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["flip", "insert", "delete", "line", "repeat", "join", "case"]))
        place = draw(st.integers(0, len(data)))
        odd = bytes([draw(st.sampled_from(ODD_BYTES))])
        if kind == "flip":
            data = data[:place] + odd + data[place + 1 :]
        elif kind == "insert":
            data = data[:place] + odd + data[place:]
        elif kind == "delete":
            data = data[:place] + data[place + draw(st.integers(1, 4)) :]
        elif kind == "case":
            data = data[:place] + data[place : place + 8].swapcase() + data[place + 8 :]
        else:
            lines = data.split(b"\r\n")
            number = draw(st.integers(0, len(lines) - 1))
            if kind == "line":
                lines.insert(number, draw(st.sampled_from(SLOW_PATH_FIELDS + STRANGE_FIELDS)))
            elif kind == "repeat":
                lines.insert(number, lines[draw(st.integers(0, len(lines) - 1))])
            else:
                lines[number : number + 2] = [b"\n".join(lines[number : number + 2])]
            data = b"\r\n".join(lines)
    return data


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    """Plainly chunked bodies."""
    body = b""
    for data in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5)):
        size = draw(st.sampled_from([b"%x", b"%X"])) % len(data)
        body += b"%b\r\n%b\r\n" % (size, data)
    return body + b"0\r\n\r\n"


@st.composite
def trailers(draw: st.DrawFn) -> bytes:
    """Behind the last chunk's size: plain trailers, or not, and the empty line."""
    plain = ORDINARY.map(line)
    others = st.sampled_from([*SLOW_PATH_FIELDS, *STRANGE_FIELDS, *OFFERS])
    odd = st.one_of(plain, LINES, others, *(kind.map(line) for kind in (IDENTITY, VIA, REQUEST_ID)))
    lines = draw(st.lists(draw(st.sampled_from([plain, odd])), max_size=6))
    return b"".join(text + b"\r\n" for text in lines) + b"\r\n"


ODD_IN_CHUNKS = [b";a=b", b";", b" ", b"\t", b"\n", b"\r", b"\r\n", b"0", b"g", b"F", b"0x", b"-"]
ODD_IN_CHUNKS += [b"Trailer: x\r\n", b"0\r\n\r\n", b"\x00", b"f" * 17, b"0" * 17, b"", b"_"]


@st.composite
def odd_chunked_bodies(draw: st.DrawFn) -> bytes:
    """Chunked bodies after one or two accidents or attacks."""
    data = draw(chunked_bodies())
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(data)))
        odd = draw(st.sampled_from(ODD_IN_CHUNKS))
        data = data[:place] + odd + data[place + draw(st.integers(0, 2)) :]
    return data


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` cut at these places."""
    cuts = sorted({0, len(data), *(min(place, len(data)) for place in places)})
    return [data[start:stop] for start, stop in pairwise(cuts)]
