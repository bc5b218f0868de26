"""Bodies, let through to h11 as far as they belong to their message and are well-formed.

Of a chunked body, every byte that is not data is checked here: size lines, the line ends behind
the data, trailers (RFC 9112 section 7.1). Data is skipped by its length. What is incomplete stays
back, and so does all that comes behind the end: it belongs to the next message.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from .strict import FIELDS, Section, TooLarge, Violation

if TYPE_CHECKING:
    from trio_lb.http.heads import FieldLine

#: Bytes of a size line with its extensions, and of all extensions of a body: nobody needs any,
#: but they cost their recipient something.
LINE_LIMIT = 256
EXTENSIONS_LIMIT = 16 * 1024

_SIZE = rb"([0-9A-Fa-f]{1,16}+)"
_EXTENSIONS = rb"((?:;[ -~\x80-\xff]*+)?+)"
_SIZE_LINE = re.compile(_SIZE + _EXTENSIONS + rb"\r\n")
_BEGUN = re.compile(rb"(?:" + _SIZE + _EXTENSIONS + rb"\r?)?")
# Some servers pad the size with spaces, and what they send is framed anew for the client.
_PADDED_SIZE_LINE = re.compile(_SIZE + _EXTENSIONS + rb"[ \t]*+\r\n")
_PADDED_BEGUN = re.compile(rb"(?:" + _SIZE + _EXTENSIONS + rb"[ \t]*+\r?)?")


class BodyGate(Protocol):
    """Knows where a body ends.

    Attributes:
        trailers: those of a chunked body, from its end on; else None.
    """

    trailers: list[FieldLine] | None

    def advance(self, data: bytes) -> int:
        """How many of the next bytes belong to the body, and may be read.

        Raises:
            Violation: they are malformed.
        """


class Sized:
    """A body of a known length in bytes."""

    __slots__ = ("_left",)
    trailers: list[FieldLine] | None = None

    def __init__(self, length: int) -> None:
        self._left = length

    def advance(self, data: bytes) -> int:
        size = min(len(data), self._left)
        self._left -= size
        return size


class UntilClose:
    """A body that ends with its connection."""

    __slots__ = ()
    trailers: list[FieldLine] | None = None

    def advance(self, data: bytes) -> int:
        return len(data)


class Chunked:
    """A chunked body.

    Args:
        trailer_limit: bytes of the trailer section.
        field_limit: number of trailers.
        left: bytes to come of the chunk in which it is gone on with, if it is in one.
        padded: spaces behind a chunk's size do no harm.
    """

    __slots__ = (
        "_begun", "_data_ended", "_extensions", "_field_limit", "_last", "_left", "_section",
        "_size_line", "trailers",
    )  # fmt: skip

    def __init__(
        self, trailer_limit: int, field_limit: int, left: int | None = None, *, padded: bool = False
    ) -> None:
        self._size_line = _PADDED_SIZE_LINE if padded else _SIZE_LINE
        self._begun = _PADDED_BEGUN if padded else _BEGUN
        self._section = Section(trailer_limit)
        self._field_limit = field_limit
        self._extensions = 0
        self._left = left or 0  # bytes of the chunk under way
        self._data_ended = left == 0  # and the line end behind them is due
        self._last = False  # the last chunk has come: trailers are next
        self.trailers: list[FieldLine] | None = None

    def advance(self, data: bytes) -> int:
        """As `BodyGate` has it; too large trailers are 431."""
        at, size = 0, len(data)
        try:
            while at < size and not self._last:
                if self._left:
                    step = min(self._left, size - at)
                    at += step
                    self._left -= step
                    self._data_ended = not self._left
                elif self._data_ended:
                    if not data.startswith(b"\r\n", at):
                        if data[at:] == b"\r":
                            break
                        raise Violation("a chunk is longer than its size")
                    at += 2
                    self._data_ended = False
                elif not (line_end := self._read_size_line(data, at)):
                    break
                else:
                    at = line_end
        except Violation:
            if not at:
                raise  # else when it is looked at again: what is good before it passes
        if self._last and self.trailers is None and not at:
            return self._read_trailers(data)
        return at

    def _read_size_line(self, data: bytes, at: int) -> int:
        """Where the size line that begins at `at` ends; 0 while its end has not come."""
        limit = at + LINE_LIMIT + 2
        line = self._size_line.match(data, at, limit)
        if line is None:
            if len(data) < limit and self._begun.fullmatch(data, at):
                return 0
            raise Violation("the size of a chunk is malformed")
        self._extensions += len(line[2])
        if self._extensions > EXTENSIONS_LIMIT:
            raise Violation("too many chunk extensions")
        self._left = int(line[1], 16)
        self._last = not self._left
        return line.end()

    def _read_trailers(self, data: bytes) -> int:
        if data.startswith(b"\r\n"):
            self.trailers = []
            return 2
        end = self._section.end(data)
        if end:
            if not FIELDS.fullmatch(data, 0, end):
                raise Violation("the trailers are malformed")
            if data.count(b"\n", 0, end) - 1 > self._field_limit:
                raise TooLarge("too many trailers")
            self.trailers = [_field_line(line) for line in data[: end - 4].split(b"\r\n")]
        return end


def _field_line(line: bytes) -> FieldLine:
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")
