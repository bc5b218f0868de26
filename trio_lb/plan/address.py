"""Addresses of listeners and servers: `http://host:port/prefix` or `unix:/path`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_IPV4: Final = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")

ANY_HOST: Final = "*"
"""The host of a listen address that means every interface, IPv4 and IPv6."""


@dataclass(frozen=True, slots=True)
class Address:
    """One address, in canonical form: equal addresses are written equally.

    Attributes:
        host: IP address (IPv6 without brackets) or lower-case host name; `ANY_HOST` where a
            listener takes every interface; empty for a unix socket.
        port: 1 to 65535; 0 lets the system choose (listeners only), and for a unix socket.
        unix: path of the unix socket, or None.
        path: prefix put before a request's path, without a slash at its end; mostly empty.
        scheme: the protocol spoken there, "http".
        written: what the profile says where that has text from the environment; shown in its place.
    """

    host: str = ""
    port: int = 0
    unix: str | None = None
    path: str = ""
    scheme: str = "http"
    written: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        """What people are shown; `url` is for programs."""
        return self.written or self.url

    @property
    def url(self) -> str:
        """The address itself, as it is read again."""
        if self.unix is not None:
            return f"unix:{self.unix}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def named(self) -> bool:
        """Its host is a name, which has to be looked up."""
        return self.unix is None and not (":" in self.host or _IPV4.fullmatch(self.host))

    @property
    def authority(self) -> str:
        """What a request's Host field says of it: the port only where it isn't the scheme's."""
        if self.unix is not None:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 80 else f"{host}:{self.port}"
