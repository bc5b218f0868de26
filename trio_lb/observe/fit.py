"""Fitting text into narrow columns, and into encodings that lack characters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size

from trio_lb.observe.text import printable, whole_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_lb.observe.statistics import ServerStatistics

_ASCII: Final = str.maketrans({"µ": "u", "─": "-", "…": "~", "×": "x", "\N{EN DASH}": "-"})


def addresses(servers: Sequence[ServerStatistics], room: int) -> list[str]:
    """What tells servers apart, in so many columns: all of it, or names, or host and port.

    All of them in the same form; what is too long even so loses its middle.
    """
    whole = [whole_address(server) for server in servers]
    if max(map(cell_len, whole), default=0) <= room:
        return whole
    return [middle_cut(_short(server), room) for server in servers]


def _short(server: ServerStatistics) -> str:
    if server.name != server.address:
        return printable(server.name)
    return printable(server.address.removeprefix("http://"))


def middle_cut(text: str, room: int) -> str:
    """The text in so many columns; what does not fit is lost in the middle."""
    if cell_len(text) <= room:
        return text
    end = (room - 1) * 2 // 3
    tail = text[len(text) - end :]
    while cell_len(tail) > end:
        tail = tail[1:]
    return set_cell_size(text, room - 1 - cell_len(tail)).rstrip() + "…" + tail


def encoded(text: str, encoding: str) -> bytes:
    """The text as bytes; what an encoding lacks becomes like it in ASCII, or an escape."""
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "backslashreplace")
