"""Values with a syntax of their own: names, files, header fields, numbers or a word.

As in `units`, each is a `Leaf`, and a parser raises ValueError with what was expected.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from trio_lb.config.units import Leaf, is_on

MAX_WORKERS: Final = 256
MAX_NAME: Final = 100
_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_FIELD_NAME: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$"
_FIELD_VALUE: Final = r"^[!-~]([ \t!-~]{0,4094}[!-~])?$"
_HOST: Final = r"^(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?$"
_OWN_FIELDS: Final = frozenset({
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
"""What trio-lb decides by itself in a request of its own."""
_USER_PATTERN: Final = r"^[^\s:/]{1,100}(:[^\s:/]{1,100})?$"


def _parse_path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]*", text) or "#" in text:
        raise ValueError("expected a path that begins with /, in ASCII and without spaces")
    return text


def _parse_log_file(text: str) -> str:
    if is_on(text) or not text or not text.isprintable():
        raise ValueError('expected a file name, "-" for standard output, or off')
    return text


def _parse_name(text: str) -> str:
    if not 1 <= len(text) <= MAX_NAME or not text.isprintable() or text != text.strip():
        raise ValueError(f"expected a name of 1 to {MAX_NAME} printable characters")
    return text


def parse_workers(text: str) -> int | Literal["auto"]:
    """Read a number of worker processes, or `auto`.

    Raises:
        ValueError: neither.
    """
    if text.lower() == "auto":
        return "auto"
    if re.fullmatch(r"[0-9]{1,9}", text) and 1 <= int(text) <= MAX_WORKERS:
        return int(text)
    raise ValueError(f"expected a whole number from 1 to {MAX_WORKERS}, or auto")


def _parse_pid_file(text: str) -> str:
    if is_on(text) or not text.isprintable() or text.endswith("/") or not text:
        raise ValueError("expected a file name, or off")
    return text


def _parse_user(text: str) -> str:
    if is_on(text) or not text.isprintable() or not re.fullmatch(_USER_PATTERN, text):
        raise ValueError("expected the name of a user, or NAME:GROUP, or off")
    return text


def _parse_method(text: str) -> str:
    if text.upper() not in _METHODS:
        raise ValueError(f"expected one of {', '.join(_METHODS)}")
    return text.upper()


def _parse_host(text: str) -> str:
    if not re.fullmatch(_HOST, text):
        raise ValueError("expected a host, as in app.example or app.example:8080")
    return text


def _parse_field_name(text: str) -> str:
    if not re.fullmatch(_FIELD_NAME, text):
        raise ValueError("expected a header name")
    if text.lower() in _OWN_FIELDS:
        hint = ": that is the key `host`" if text.lower() == "host" else ""
        raise ValueError(f"expected a header that trio-lb does not set itself{hint}")
    return text


def _parse_field_value(text: str) -> str:
    if not re.fullmatch(_FIELD_VALUE, text):
        raise ValueError("expected a header value, in ASCII and on one line")
    return text


def _parse_error_status(text: str) -> int:
    if re.fullmatch(r"[45][0-9]{2}", text):
        return int(text)
    raise ValueError("expected a status from 400 to 599")


PATH: Final = Leaf(_parse_path, str, {"type": "string", "pattern": "^/[!-~]*$"})
METHOD: Final = Leaf(_parse_method, str, {"enum": list(_METHODS)})
HOST: Final = Leaf(_parse_host, str, {"type": "string", "pattern": _HOST})
FIELD_NAME: Final = Leaf(_parse_field_name, str, {"type": "string", "pattern": _FIELD_NAME})
FIELD_VALUE: Final = Leaf(
    _parse_field_value, str, {"type": ["string", "number"], "pattern": _FIELD_VALUE}
)
LOG_FILE: Final = Leaf(_parse_log_file, str, {"type": "string", "minLength": 1})
WORKERS: Final = Leaf(
    parse_workers,
    lambda workers: workers,
    {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_WORKERS}, {"const": "auto"}]},
)
PID_FILE: Final = Leaf(_parse_pid_file, str, {"type": "string", "minLength": 1})
USER: Final = Leaf(_parse_user, str, {"type": "string", "pattern": _USER_PATTERN})
ERROR_STATUS: Final = Leaf(
    _parse_error_status, int, {"type": "integer", "pattern": "^[45][0-9]{2}$"}
)
NAME: Final = Leaf(_parse_name, str, {"type": "string", "minLength": 1, "maxLength": MAX_NAME})
