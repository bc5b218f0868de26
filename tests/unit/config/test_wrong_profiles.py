"""Profiles that are wrong, and where and how each of them is told to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from trio_lb.config import ProfileError, load_profile, loading, parse_profile

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {"PORT": "3001", "EMPTY": "", "WORD": "heavy"}

# Name, text, place, and what is said there. "S" stands for a line with one good server.
S = "servers: http://a:1\n"
UNIX = "listen: {url: 'unix:/run/x.sock', %s}"
WRONG = [
    ("empty", "", "1:1", "the profile is empty"),
    ("only a comment", "# nothing\n", "1:1", "the profile is empty"),
    ("null", "~", "1:1", "the profile is empty"),
    ("only a document marker", "---\n", "1:1", "the profile is empty"),
    ("a list on top", "- http://a:1\n", "1:1", "expected a mapping with keys such as listen"),
    ("a word on top", "hello", "1:1", "expected a mapping with keys such as listen, servers, "),
    ("no servers", "listen: http://:80\n", "1:1", "servers: missing"),
    ("empty list of servers", "servers: []\n", "1:10", "at least one, got an empty list"),
    ("servers are nothing", "servers:\n", "1:9", "servers: expected at least one, got nothing"),
    ("unknown key", S + "algoritm: rr\n", "2:1", 'unknown key: did you mean "algorithm"?'),
    ("key with dashes", S + "access-log: x\n", "2:1", 'did you mean "access_log"?'),
    (
        "key without a near one",
        S + "zzz: 1\n",
        "2:1",
        "unknown key: expected one of listen, servers",
    ),
    ("key with a newline", S + '"a\\nb": 1\n', "2:1", '"a\\nb": unknown key'),
    ("unknown key below", S + "limits: {heads: 1}", "2:10", "limits.heads: unknown key: did you"),
    ("duplicate key", S + "retries: 1\nretries: 2\n", "3:1", "a second time (first at 2:1)"),
    ("duplicate key below", "servers:\n- {url: http://a, url: http://b}", "2:19", "[0].url: a sec"),
    ("weight of 0", "servers: {url: http://a, weight: 0}", "1:34", "from 1 to 65535, got 0"),
    ("weight of -1", "servers:\n- url: http://a\n  weight: -1", "3:11", "servers[0].weight: expe"),
    ("weight in words", "servers: {url: http://a, weight: heavy}", "1:34", 'got "heavy"'),
    ("weight of 1.5", "servers: {url: http://a, weight: 1.5}", "1:34", "number from 1 to 65535"),
    ("weight is a list", "servers: {url: http://a, weight: [1]}", "1:34", "single value, got a li"),
    ("weight is nothing", "servers:\n- url: http://a\n  weight:\n", "3:10", "got nothing"),
    ("weight too large", "servers: {url: http://a, weight: 65536}", "1:34", "got 65536"),
    ("maximum of -5", "servers: {url: http://a, max_connections: -5}", "1:43", "from 0 to 1000000"),
    ("huge maximum", f"servers: {{url: http://a, max_connections: {'9' * 5000}}}", "1:43", "99..."),
    ("no workers", S + "workers: 0", "2:10", "expected a whole number from 1 to 256, or auto, go"),
    ("workers off", S + "workers: off", "2:10", 'from 1 to 256, or auto, got "off"'),
    ("too many workers", S + "workers: 257", "2:10", "from 1 to 256, or auto, got 257"),
    ("pid file on", S + "pid_file: on", "2:11", 'a file name, or off, got "on"'),
    ("pid file without a name", S + "pid_file: ''", "2:11", "expected a file name, or off"),
    ("pid file is a directory", S + "pid_file: /run/", "2:11", "a file name, or off"),
    ("user on", S + "user: yes", "2:7", "the name of a user, or NAME:GROUP, or off, got"),
    ("user without a group", S + "user: 'a:'", "2:7", "NAME:GROUP, or off, got"),
    ("user that is no text", S + 'user: "a\\0"', "2:7", "NAME:GROUP, or off, got"),
    (
        "owner unknown",
        S + UNIX % "owner: nosuchuser",
        "2:42",
        "expected an existing user, by name",
    ),
    ("owner on", S + UNIX % "owner: on", "2:42", 'listen.owner: expected a name, or off, got "on"'),
    ("owner is two", S + UNIX % "owner: a:b", "2:42", "expected a name, or off"),
    ("owner too large", S + UNIX % "owner: 4294967295", "2:42", "expected an existing user"),
    ("group unknown", S + UNIX % "group: nosuchgroup", "2:42", "expected an existing group,"),
    ("mode in decimal", S + UNIX % "mode: 432", "2:41", 'as in "0660", or off, got 432'),
    (
        "mode without its 0",
        S + UNIX % "mode: '660'",
        "2:41",
        "expected four octal digits in quotes",
    ),
    (
        "mode that is none",
        S + UNIX % "mode: '0668'",
        "2:41",
        "expected four octal digits in quotes",
    ),
    (
        "owner of a port",
        S + "listen: {url: 'http://:1', owner: '0'}",
        "2:35",
        "listen.owner: only a unix socket can have it",
    ),
    (
        "mode of a port in a list",
        S + "listen: ['http://:1', {url: 'http://:2', mode: '0660'}]",
        "2:48",
        "listen[1].mode: only a unix socket can have it",
    ),
    ("server without URL", "servers: [{weight: 3}]", "1:11", "servers[0].url: missing"),
    ("server is a list", "servers: [[http://a]]", "1:11", "a URL or a mapping with keys such as u"),
    ("name of spaces", "servers: {url: http://a, name: ' '}", "1:32", "1 to 100 printable"),
    (
        "same server twice",
        "servers: [http://a, http://A:80/]",
        "1:21",
        "already used by servers[0]",
    ),
    (
        "same name twice",
        "servers:\n- {url: http://a, name: x}\n- {url: http://b, name: x}\n",
        "3:3",
        'the name "x" is already used by servers[0]',
    ),
    (
        "same listen twice",
        S + "listen: [http://b:2, http://b:2]",
        "2:22",
        "already used by listen[0]",
    ),
    ("itself", "servers: http://127.0.0.1:8000", "1:10", "is where this load balancer listens"),
    ("itself in other words", "listen: http://*:80\nservers: http://localhost", "2:10", "listens"),
    ("no scheme", "servers: 127.0.0.1:3001", "1:10", 'did you mean "http://127.0.0.1:3001"?'),
    ("no scheme, no address", "servers: '%%'", "1:10", 'unix:/run/app.sock, got "%%"'),
    ("https", "servers: https://a", "1:10", "https:// (TLS) is not supported yet"),
    ("other scheme", "servers: ftp://a", "1:10", "begins with http:// or unix:"),
    ("port too large", "servers: http://a:65536", "1:10", "a port from 1 to 65535"),
    ("port in words", "servers: http://a:http", "1:10", "a port from 1 to 65535"),
    ("port of a server is 0", "servers: http://a:0", "1:10", "a port from 1 to 65535"),
    ("no port after the colon", "servers: 'http://a:'", "1:10", "a port from 1 to 65535"),
    ("no host", "servers: http://", "1:10", "a host after http://"),
    ("server on every host", "servers: http://*:80", "1:10", "the host of the server"),
    ("user name", "servers: http://me:pw@a", "1:10", "without a user name"),
    ("query", "servers: http://a/?x=1", "1:10", "without a query"),
    ("space in a URL", "servers: http://a/x y", "1:10", "without spaces"),
    ("bad host", "servers: http://a_!b", "1:10", "expected a host name"),
    ("bad IPv4", "servers: http://1.2.3.400", "1:10", "an IPv4 address"),
    ("bare IPv6", "servers: http://::1:80", "1:10", "in brackets"),
    ("bad IPv6", "servers: 'http://[::g]'", "1:10", "an IPv6 address between"),
    ("commas in YAML", "servers: http://a, http://b", "1:10", "written as a list"),
    ("socket without path", "servers: 'unix:'", "1:10", "the path of a socket"),
    ("socket path too long", f"servers: unix:/{'x' * 107}", "1:10", "at most 107 bytes"),
    ("trusted proxies in words", S + "trusted_proxies: all", "2:18", "such as 10.0.0.0/8, an IP"),
    ("trusted proxies on", S + "trusted_proxies: on", "2:18", "an IP address, or unix, got"),
    ("trusted by nobody", S + "trusted_proxies: []", "2:18", "at least one, got an empty list"),
    ("trusted host", S + "trusted_proxies: [10.0.0.1/8]", "2:19", '(did you mean "10.0.0.0/8"?)'),
    ("trusted zone", S + "trusted_proxies: 'fe80::1%a'", "2:18", "expected a network such as"),
    ("trusted by mask", S + "trusted_proxies: 10.0.0.0/255.0.0.0", "2:18", "a network such as"),
    ("forwarded", S + "forwarded: also", "2:12", "expected on, off, or only"),
    (
        "send_proxy",
        "servers: {url: http://a, send_proxy: v3}",
        "1:38",
        "expected one of v1, v2, or",
    ),
    ("send_proxy on", "servers: {url: http://a, send_proxy: on}", "1:38", "one of v1, v2, or off"),
    ("listen without URL", S + "listen: {proxy_protocol: on}", "2:9", "listen.url: missing"),
    (
        "listen with a wrong key",
        S + "listen: {url: 'unix:/x', proxy: on}",
        "2:26",
        "proxy_protocol",
    ),
    (
        "listen is a list",
        S + "listen: [[http://b]]",
        "2:10",
        "a URL or a mapping with keys such as u",
    ),
    (
        "PROXY from nobody",
        S + "listen: {url: 'http://:1', proxy_protocol: on}",
        "2:9",
        "proxy_protocol needs trusted_proxies, which is off",
    ),
    (
        "PROXY from nobody, said so",
        S + "trusted_proxies: off\nlisten: [{url: 'http://:1', proxy_protocol: on}]",
        "3:10",
        "which is off",
    ),
    ("listen with a path", S + "listen: http://b/x", "2:9", "which has no path"),
    ("unknown algorithm", S + "algorithm: rond_robin", "2:12", 'did you mean "round_robin"?'),
    ("algorithm without sense", S + "algorithm: magic", "2:12", "expected one of round_robin (rr"),
    ("timeout of 0", S + "timeout: 0", "2:10", "longer than zero"),
    ("timeout below 0", S + "timeout: -1s", "2:10", "a duration such as 250ms, 10s or 2m"),
    ("timeout in words", S + "timeout: soon", "2:10", 'or 2m, got "soon"'),
    ("timeout of a boolean", S + "timeout: true", "2:10", 'got "true"'),
    ("timeout without end", S + "timeout: .inf", "2:10", "a duration such as"),
    ("timeout with a wrong unit", S + "timeout: 3 weeks", "2:10", "a duration such as"),
    ("timeouts are a number", S + "timeouts: 3", "2:11", "a mapping with keys such as connect, "),
    (
        "no time for tunnels",
        S + "timeouts: {tunnel: 0}",
        "2:20",
        "timeouts.tunnel: expected a dura",
    ),
    ("timeouts are nothing", S + "timeouts:\n", "2:10", "got nothing"),
    ("size with a wrong unit", S + "limits:\n  head: 16 pages", "3:9", "size such as 512, 16KiB"),
    ("size with a part of a byte", S + "replay_body: 0.3", "2:14", "a whole number of bytes"),
    ("head of nothing", S + "limits: {head: 0}", "2:16", "of at least one byte"),
    ("no clients", S + "limits: {clients: 0}", "2:19", "from 1 to 10000000, or off, got 0"),
    (
        "half a client",
        S + "limits: {clients_per_address: 0.5}",
        "2:31",
        "a whole number from 1 to 10000000, or off, got 0.5",
    ),
    (
        "no requests",
        S + "limits: {requests_per_connection: 0}",
        "2:35",
        "a whole number from 1 to 1000000000, or off, got 0",
    ),
    ("a rate of nothing", S + "limits: {min_rate: 0}", "2:20", "of at least one byte, as in"),
    ("body in words", S + "limits: {body: small}", "2:16", "or 1MB, or off"),
    ("health check in words", S + "health_check: of", "2:15", "expected on or off"),
    ("bad status", S + "health_check: {statuses: 999}", "2:26", "an HTTP status or a range"),
    ("status backwards", S + "health_check: {statuses: [200, 399-300]}", "2:32", '"300-399"?'),
    ("check of no path", S + "health_check: {path: health}", "2:22", "begins with /"),
    ("method", S + "health_check: {method: POST}", "2:24", "expected one of GET, HEAD, OPTIONS"),
    ("check's host", S + "health_check: {host: 'http://a'}", "2:22", "as in app.example"),
    ("check's port", S + "health_check: {port: 0}", "2:22", "from 1 to 65535, or off"),
    ("framing", S + "health_check: {headers: {Content-Length: 3}}", "2:26", "does not set itself"),
    ("Host is a key", S + "health_check: {headers: {Host: a}}", "2:26", "that is the key `host`"),
    ("no header", S + "health_check: {headers: {a b: c}}", "2:26", "a header name"),
    ("two lines", S + 'health_check: {headers: {a: "b\\nc: d"}}', "2:29", "on one line"),
    (
        "port of a path",
        "servers: unix:/x\nhealth_check: {port: 80}",
        "2:22",
        "a unix socket has no port, and servers is one",
    ),
    ("jitter", S + "health_check: {jitter: 110%}", "2:24", "a fraction from 0 to 1"),
    ("unavailable as 200", S + "unavailable_status: 200", "2:21", "from 400 to 599"),
    ("pages are a list", S + "error_pages: [x]", "2:14", "expected a mapping, got a list"),
    ("page that is not there", S + "error_pages: {503: nope.html}", "2:20", "(no such file or dir"),
    ("page of no known kind", S + "error_pages: {503: down.php}", "2:20", "ends in .htm, .html, "),
    ("page that is a directory", S + "error_pages: {503: /dev/x.html/}", "2:20", "a readable file"),
    ("access log on", S + "access_log: on", "2:13", '"-" for standard output, or off'),
    ("fast path", S + "fast_path: of", "2:12", "expected on or off"),
    ("old key, wrong value", S + "engine: h12", "2:9", 'engine: did you mean "h11"?'),
    (
        "old and new key",
        "engine: plain\n" + S + "fast_path: on",
        "1:1",
        "engine: is called fast_path now, which is there as well: leave engine out",
    ),
    ("readiness", S + "readiness: aut", "2:12", 'did you mean "auto"?'),
    ("access log format", S + "access_log_format: jsn", "2:20", 'did you mean "json"?'),
    ("log level", S + "log_level: warn", "2:12", 'did you mean "warning"?'),
    (
        "unset variable",
        "servers: http://a:${NOPE}",
        "1:10",
        "the environment variable NOPE is not set",
    ),
    ("bad variable", "servers: http://a:${PO RT}", "1:10", "expected ${NAME} or ${NAME:-default}"),
    ("variable of a wrong type", S + "retries: ${WORD}", "2:10", 'got "${WORD}"'),
    ("variable of nothing", S + "retries: ${EMPTY}", "2:10", 'got "${EMPTY}"'),
    ("variable in braces", "servers: {url: ${PORT}}", "1:17", 'needs quotes: "${NAME}"'),
    ("tab", "servers:\n\t- http://a", "2:1", "a tab can't indent"),
    ("bad first character", S + "name: @a", "2:7", 'can\'t begin with "@"'),
    (
        "open quote",
        S + "access_log: 'x",
        "2:15",
        "a quote that begins at 2:13 that is never closed",
    ),
    ("open list", "servers: [http://a\ntimeout: 3", "2:8", "in the list that begins at 1:10"),
    ("open mapping", "servers: {url: http://a\ntimeout: 3", "2:8", "in the mapping that begins"),
    ("indentation", "servers: http://a\n  timeout: 3", "2:10", 'unexpected ":"'),
    ("outdented key", "limits:\n    head: 1\n  body: 2", "3:3", "does not fit here"),
    ("key in a list", "servers:\n- http://a\nx\n", "4:1", "after the key that begins at 3:1"),
    ("list in a list", "servers:\n  - http://a\n  timeout: 1", "3:3", "does not fit here"),
    ("two documents", S + "---\n" + S, "2:1", "a second YAML document"),
    ("end mark", S + "...\n" + S, "3:1", "does not fit here"),
    ("tag", S + "timeout: !!float 3", "2:10", "YAML tags are not supported (!!float)"),
    ("tag of Python", "servers: !!python/object:os.system x", "1:10", "tags are not supported"),
    ("tag of a mapping", "!x {servers: http://a}", "1:1", "YAML tags are not supported (!x)"),
    ("remark of Bal.rs", S + "health_check:\n  path: /\n!!  remark\n", "4:3", 'write "#"'),
    ("unknown alias", "servers: *x", "1:10", "unknown alias *x"),
    ("alias of itself", "servers: &x [*x]", "1:14", "alias *x contains itself"),
    ("merge key", "servers: {<<: {weight: 1}, url: http://a}", "1:11", "merge keys (<<)"),
    ("key is a list", "? [a]\n: b", "1:3", "expected a key, a plain word"),
    ("too deep", "servers: " + "[" * 500, "1:25", "nested too deeply"),
    ("too deep in blocks", "- " * 5000, "1:33", "nested too deeply"),
    ("control character", S + "access_log: a\x07b", "2:14", "invalid character (U+0007)"),
    ("half a character", "servers: \ud800", "1:10", "invalid character (U+D800)"),
    ("JSON", '{"servers": ["http://a"], "timeout": "x"}', "1:38", "timeout: expected a duration"),
    ("dangerous output", 'servers: "\\e[31m"', "1:10", 'got "\\x1b[31m"'),
]


@pytest.fixture(params=["libyaml", "pure Python"], autouse=True)
def yaml_loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of YAML's scanners, which word their complaints differently."""
    if request.param == "libyaml" and not yaml.__with_libyaml__:
        pytest.skip("this PyYAML is without libyaml")
    loader = yaml.CSafeLoader if request.param == "libyaml" else yaml.SafeLoader
    monkeypatch.setattr(loading, "_LOADER", loader)


@pytest.mark.parametrize(
    ("text", "place", "said"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_wrong_profile_is_told_with_its_place(text: str, place: str, said: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile(text, "x.yaml", ENVIRON)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"x.yaml:{place}: ")
    assert said in line


def test_far_too_deep_is_told_by_whoever_notices_first() -> None:
    """Newer versions of libyaml have a bound of their own, and look 1024 characters ahead."""
    with pytest.raises(ProfileError, match=r"^x\.yaml:1:\d+: .*nest"):
        parse_profile("servers: " + "[" * 100_000, "x.yaml", ENVIRON)


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_text() -> None:
    text = """\
listen: http://127.0.0.1:99999
servers:
  - url: http://127.0.0.1:3001
    wieght: 3
  - {url: http://127.0.0.1:3002, weight: heavy}
  - http://127.0.0.1:3001
timeouts: {connect: fast}
limits: {head: 0}
retries: many
"""
    with pytest.raises(ProfileError) as caught:
        parse_profile(text, "x.yaml")
    assert str(caught.value).splitlines() == [
        'x.yaml:1:9: listen: expected a port from 1 to 65535, got "http://127.0.0.1:99999"',
        'x.yaml:4:5: servers[0].wieght: unknown key: did you mean "weight"?',
        'x.yaml:5:42: servers[1].weight: expected a whole number from 1 to 65535, got "heavy"',
        "x.yaml:6:5: servers[2]: http://127.0.0.1:3001 is already used by servers[0]",
        'x.yaml:7:21: timeouts.connect: expected a duration such as 250ms, 10s or 2m, got "fast"',
        "x.yaml:8:16: limits.head: expected a size of at least one byte, as in 16KiB, got 0",
        'x.yaml:9:10: retries: expected a whole number from 0 to 100, got "many"',
    ]
    assert [problem.key for problem in caught.value.problems][:2] == ["listen", "servers[0].wieght"]


def test_a_mistake_that_is_shared_by_an_alias_is_told_once() -> None:
    text = "servers: [{url: http://a, weight: &w 0}, {url: http://b, weight: *w}]"
    with pytest.raises(ProfileError) as caught:
        parse_profile(text)
    assert len(caught.value.problems) == 1


def test_an_alias_bomb_is_refused_at_once() -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))
    with pytest.raises(ProfileError) as caught:
        parse_profile(f"a0: &a0 [x]\n{levels}\nservers: *a11\n")
    assert len(caught.value.problems) < 20


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.yaml", None, "cannot read it: no such file or directory"),
        (".", None, "cannot read it: is a directory"),
        ("a\0b", None, "not a file name"),
        ("latin.yaml", b"# first\nservers: \xe9\n", "latin.yaml:2:10: not UTF-8 text (byte 0xe9)"),
        ("utf16.yaml", "servers: x".encode("utf-16"), "utf16.yaml:1:1: not UTF-8 text"),
        ("huge.yaml", b"#" * (loading.MAX_BYTES + 1), "too large for a profile: more than 4 MiB"),
        ("nul.yaml", b"servers: \0", "nul.yaml:1:10: invalid character (U+0000)"),
    ],
)
def test_unreadable_file(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    (line,) = str(caught.value).splitlines()
    assert said in line
    assert repr(str(path))[1:-1] in line


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("200: {0}", "2:15: error_pages.200: expected a status from 400 to 599, got 200"),
        ("down: {0}", '2:15: error_pages.down: expected a status from 400 to 599, got "down"'),
        ("503: {0}, 503: {0}", "2:{1}: error_pages.503: a second time (first at 2:15)"),
        (
            "503: {0}, '${{S}}': {0}",
            "2:{1}: error_pages.${{S}}: expected a status from 400 to 599, got ",
        ),
        ("503: [{0}]", "2:20: error_pages.503: expected a single value, got a list"),
    ],
)
def test_wrong_error_page(tmp_path: Path, keys: str, said: str) -> None:
    page = tmp_path / "page.txt"
    page.write_text("down")
    keys, said = (each.format(page, 22 + len(str(page))) for each in (keys, said))
    with pytest.raises(ProfileError) as caught:
        parse_profile(f"{S}error_pages: {{{keys}}}", "x.yaml", {"S": "503"})
    assert str(caught.value).startswith(f"x.yaml:{said}")


def test_error_page_that_is_too_large(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(bytes(256 * 1024 + 1))
    with pytest.raises(ProfileError, match="expected a page of at most 256 KiB"):
        parse_profile(f"{S}error_pages: {{503: {page}}}", "x.yaml", {})
