"""Problems of a profile, each with its position."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from trio_lb.errors import TrioLBError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Position(NamedTuple):
    """A place in a text; both count from one, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        source: file name, or what else was read.
        position: where in it; None if it isn't about a place in a text.
        key: path of the value, as in `servers[1].weight`; empty for the whole.
        message: what is wrong and what was expected.
    """

    source: str
    position: Position | None
    key: str
    message: str

    @property
    def location(self) -> str:
        """The part before the message that editors and terminals make clickable."""
        if self.position is None:
            return self.source
        return f"{self.source}:{self.position.line}:{self.position.column}"

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.location}: {key}{self.message}"


def joined(path: str, key: str) -> str:
    """The path of a key below another one, printable whatever the key is."""
    key = key if key.isprintable() and len(key) <= 60 else json.dumps(key[:60])
    return f"{path}.{key}" if path else key


class ProfileError(TrioLBError):
    """A profile that can't be used; `str()` is one line per problem.

    Attributes:
        problems: all that was found, in the order of the text.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda each: each.position or (0, 0)))
        super().__init__("\n".join(map(str, self.problems)))
