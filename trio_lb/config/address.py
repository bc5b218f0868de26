"""How addresses are written: `http://host:port/prefix` or `unix:/path`."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from trio_lb.config.units import Leaf
from trio_lb.plan.address import ANY_HOST, Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_EXAMPLE: Final = "expected an address such as http://127.0.0.1:3001 or unix:/run/app.sock"
_ONE: Final = "expected one address here; several are written as a list, [a, b]"
_SEVERAL: Final = re.compile(r"[\s,;](https?://|unix:)", re.IGNORECASE)
_SCHEME: Final = re.compile(r"(https?|unix):|.*://", re.IGNORECASE | re.DOTALL)
_ONLY_PORT: Final = re.compile(r"(?:http://)?(?:\*?:)?([0-9]{1,5})", re.ASCII)
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PREFIX: Final = re.compile(r"(/[!-~]*)?")
_UNIX_PATH_BYTES: Final = 107
"""What `sun_path` of Linux holds beside its final NUL (unix(7)); macOS holds 103."""


def parse_server_address(text: str) -> Address:
    """Read the address of a server.

    Raises:
        ValueError: not an address, or not one that can be connected to.
    """
    return _read(text, _server, "127.0.0.1")


def parse_listen_address(text: str) -> Address:
    """Read an address to listen on; `http://*:8000` and `http://:8000` take every interface.

    Raises:
        ValueError: not an address, or one with a path.
    """
    return _read(text, _listener, "")


def leads_back(server: Address, listen: Address) -> bool:
    """Whether connecting to `server` would reach our own listener `listen`.

    Only what can be told from the text: host names are not looked up.
    """
    if server.unix is not None or listen.unix is not None:
        return server.unix == listen.unix
    if server.port != listen.port:
        return False
    if server.host == listen.host:
        return True
    if not _is_local(server.host) or not (listen.host == ANY_HOST or _is_local(listen.host)):
        return False
    one, other = _maybe_ip(server.host), _maybe_ip(listen.host)
    if one is None or other is None:  # localhost, or every interface
        return True
    return one.version == other.version and (one.is_unspecified or other.is_unspecified)


def _is_local(host: str) -> bool:
    ip = _maybe_ip(host)
    return host == "localhost" if ip is None else ip.is_loopback or ip.is_unspecified


def _maybe_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _read(text: str, form: Callable[[str], Address], host: str) -> Address:
    """An address of some form; the error names the one that was meant, if that is clear.

    Args:
        text: as it was written.
        form: reads one; raises ValueError.
        host: which one is meant where there is only a port.
    """
    try:
        return form(text)
    except ValueError as error:
        for meant in _likely(text, host):
            try:
                form(meant)
            except ValueError:
                continue
            raise ValueError(f'{error} (did you mean "{meant}"?)') from None
        raise


def _likely(text: str, host: str) -> Iterable[str]:
    """What may have been meant, the likeliest first; not all of it is an address."""
    if text.endswith(".sock") and ":" not in text:
        return (f"unix:{text}", f"unix:./{text}")
    port = _ONLY_PORT.fullmatch(text)
    if port is not None:
        return (f"http://{text}", f"http://{host}:{port[1]}")
    return () if _SCHEME.match(text) else (f"http://{text}",)


def _server(text: str) -> Address:
    address = _parse(text)
    if address.unix is None and address.host == ANY_HOST:
        raise ValueError("expected the host of the server, as in http://127.0.0.1:3001")
    if address.unix is None and address.port == 0:
        raise ValueError("expected a port from 1 to 65535")
    return address


def _listener(text: str) -> Address:
    address = _parse(text)
    if address.path:
        raise ValueError("expected an address to listen on, which has no path")
    return address


def _parse(text: str) -> Address:
    if _SEVERAL.search(text):
        raise ValueError(_ONE)
    if text[:5].lower() == "unix:":
        return _unix(text[5:])
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(_EXAMPLE)
    if scheme.lower() == "https":
        raise ValueError("https:// (TLS) is not supported yet: expected http:// or unix:")
    if scheme.lower() != "http":
        raise ValueError("expected an address that begins with http:// or unix:")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    path = rest.removeprefix(authority)
    if "," in authority:
        raise ValueError(_ONE)
    if "@" in authority:
        raise ValueError("expected an address without a user name or password")
    if "?" in path or "#" in path:
        raise ValueError("expected an address without a query (?) or fragment (#)")
    if not _PREFIX.fullmatch(path):
        raise ValueError("expected a path of ASCII characters without spaces")
    host, port = _host_and_port(authority)
    return Address(host=host, port=port, path=path.rstrip("/"))


def _unix(path: str) -> Address:
    if path.startswith("///"):
        path = path[2:]
    if not path.startswith(("/", "./", "../")) or path.startswith("//") or path.endswith("/"):
        raise ValueError("expected the path of a socket, as in unix:/run/app.sock")
    if not path.isprintable():
        raise ValueError("expected a path of printable characters")
    if len(path.encode()) > _UNIX_PATH_BYTES:
        raise ValueError(f"expected a socket path of at most {_UNIX_PATH_BYTES} bytes")
    return Address(unix=path)


def _host_and_port(authority: str) -> tuple[str, int]:
    if authority.startswith("["):
        match = re.fullmatch(r"\[([^\[\]]*)\](?:(:)(.*))?", authority, re.DOTALL)
        if match is None:
            raise ValueError("expected an IPv6 address as in http://[::1]:8000")
        return _ipv6(match[1]), _port(match[3]) if match[2] else 80
    host_text, colon, port = authority.partition(":")
    if ":" in port:
        raise ValueError("expected an IPv6 address in brackets, as in http://[::1]:8000")
    if not authority:
        raise ValueError("expected a host after http://")
    host = ANY_HOST if host_text in {"", ANY_HOST} else _host(host_text)
    return host, _port(port) if colon else 80


def _ipv6(text: str) -> str:
    try:
        ip = ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("expected an IPv6 address between [ and ]") from None
    if ip.scope_id is not None:
        raise ValueError("expected an IPv6 address without a zone (%)")
    return str(ip)


def _host(text: str) -> str:
    host = text.lower()
    if not host.isascii():
        raise ValueError("expected a host name in ASCII (the xn-- form of international names)")
    labels = host.removesuffix(".").split(".")
    if labels[-1].isdigit():
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError("expected an IPv4 address as in http://127.0.0.1:8000") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("expected a host name or an IP address after http://")
    return host


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise ValueError("expected a port from 1 to 65535")
    return int(text)


_PATTERN: Final = r"^([Hh][Tt][Tt][Pp]://\S+|[Uu][Nn][Ii][Xx]:.+)$"

SERVER_ADDRESS: Final = Leaf(
    parse_server_address,
    lambda address: address.url,
    {"type": "string", "pattern": _PATTERN, "examples": ["http://127.0.0.1:3001"]},
)
LISTEN_ADDRESS: Final = Leaf(
    parse_listen_address,
    lambda address: address.url,
    {"type": "string", "pattern": _PATTERN, "examples": ["http://127.0.0.1:8000"]},
)
