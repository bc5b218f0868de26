"""Bodies, let through as far as they belong to their message and are well-formed.

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
    """Knows where a body ends, for h11."""

    @property
    def trailers(self) -> list[FieldLine] | None:
        """Those of a chunked body, from its end on; else None."""

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


class ChunkLines:
    """The lines of a chunked body: sizes of chunks, and trailers.

    Args:
        trailer_limit: bytes of the trailer section.
        field_limit: number of trailers.
        padded: spaces behind a chunk's size do no harm.

    Attributes:
        size: of the latest chunk.
        last: it was the last one: trailers are next.
        trailers: when they have come; else None.
    """

    __slots__ = (
        "_begun", "_extensions", "_field_limit", "_section", "_size_line", "last", "size",
        "trailers",
    )  # fmt: skip

    def __init__(self, trailer_limit: int, field_limit: int, *, padded: bool) -> None:
        self._size_line = _PADDED_SIZE_LINE if padded else _SIZE_LINE
        self._begun = _PADDED_BEGUN if padded else _BEGUN
        self._section = Section(trailer_limit)
        self._field_limit = field_limit
        self._extensions = 0
        self.size = 0
        self.last = False
        self.trailers: list[FieldLine] | None = None

    def read_size(self, data: bytes, at: int = 0) -> int:
        """Where the size line that begins at `at` ends; 0 while its end has not come.

        Raises:
            Violation: it is malformed.
        """
        limit = at + LINE_LIMIT + 2
        line = self._size_line.match(data, at, limit)
        if line is None:
            if len(data) < limit and self._begun.fullmatch(data, at):
                return 0
            raise Violation("the size of a chunk is malformed")
        self._extensions += len(line[2])
        if self._extensions > EXTENSIONS_LIMIT:
            raise Violation("too many chunk extensions")
        self.size = int(line[1], 16)
        self.last = not self.size
        return line.end()

    def read_trailers(self, data: bytes) -> int:
        """Where the trailers end that `data` begins with; 0 while their end has not come.

        Raises:
            Violation: they are malformed.
            TooLarge: there are too many.
        """
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


class Chunked:
    """A chunked body.

    Args:
        lines: its lines.
        left: bytes to come of the chunk in which it is gone on with, if it is in one.
    """

    __slots__ = ("_data_ended", "_left", "_lines")

    def __init__(self, lines: ChunkLines, left: int | None = None) -> None:
        self._lines = lines
        self._left = left or 0  # bytes of the chunk under way
        self._data_ended = left == 0  # and the line end behind them is due

    @property
    def trailers(self) -> list[FieldLine] | None:
        return self._lines.trailers

    def advance(self, data: bytes) -> int:
        """As `BodyGate` has it; too large trailers are 431."""
        lines = self._lines
        at, size = 0, len(data)
        try:
            while at < size and not lines.last:
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
                elif not (line_end := lines.read_size(data, at)):
                    break
                else:
                    at, self._left = line_end, lines.size
        except Violation:
            if not at:
                raise  # else when it is looked at again: what is good before it passes
        if lines.last and lines.trailers is None and not at:
            return lines.read_trailers(data)
        return at


def _field_line(line: bytes) -> FieldLine:
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")
