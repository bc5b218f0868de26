"""Error pages from the user: files that are read when a profile takes effect.

Reading a profile only checks that they are readable, so that a wrong name is reported with its
position. Workers get the contents from their supervisor, as they may not be allowed to read them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from trio_lb.config.files import read_file
from trio_lb.config.problems import Problem, ProfileError
from trio_lb.config.units import Leaf
from trio_lb.plan.routes import ErrorPage

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES: Final = 256 * 1024
"""Largest page: it is kept in the memory of every worker, and sent to whoever causes an error."""

_CONTENT_TYPES: Final = {
    ".htm": "text/html; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}


def parse_page_file(text: str) -> str:
    """Check the name of a page's file.

    Raises:
        ValueError: it can't be read, is too large, or its kind is unknown.
    """
    _read(text)
    return text


PAGE_FILE: Final = Leaf(parse_page_file, str, {"type": "string", "minLength": 1})


def read_pages(files: Mapping[int, str], written: Mapping[str, str]) -> dict[int, ErrorPage]:
    """Read the error pages of a profile.

    Args:
        files: their names, by status.
        written: `Profile.from_environment`, for error messages.

    Raises:
        ProfileError: one of them can't be read any more.
    """
    pages = {}
    for status, name in files.items():
        try:
            pages[status] = _read(name)
        except ValueError as error:
            key = f"error_pages.{status}"
            problem = Problem(written.get(key, name), None, key, str(error))
            raise ProfileError([problem]) from None
    return pages


def _read(name: str) -> ErrorPage:
    if "\0" in name or not name:
        raise ValueError("expected a file name")
    path = Path(name)
    content_type = _CONTENT_TYPES.get(path.suffix.lower())
    if content_type is None:
        raise ValueError(f"expected a file whose name ends in {', '.join(_CONTENT_TYPES)}")
    try:
        body = read_file(path, MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"expected a readable file ({reason})") from None
    if len(body) > MAX_BYTES:
        raise ValueError(f"expected a page of at most {MAX_BYTES // 1024} KiB")
    return ErrorPage(content_type, body)
