"""Profile text to a tree of nodes with their positions.

The tree is built from YAML's events and not with `yaml.compose`, which recurses in C without a
limit (a line of 100 000 brackets crashes the process) and loses the positions of duplicate keys.
YAML features that profiles don't need are refused here: tags, merge keys, several documents,
aliases that contain themselves, and deep nesting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import yaml

from trio_lb.config.files import read_file
from trio_lb.config.problems import Position, Problem, ProfileError
from trio_lb.config.yaml_words import explain

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES: Final = 4 * 1024 * 1024
"""No profile is larger: some 40 000 servers."""

MAX_DEPTH: Final = 16
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
VARIABLE: Final = re.compile(
    r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|(?P<bad>\$\{)"
)
"""`${NAME}`, `${NAME:-default}`, `$$` for a plain $, or a `${` that begins none of these."""

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, number or word; which of them, its key decides."""

    position: Position | None
    text: str
    plain: bool = True

    @property
    def is_null(self) -> bool:
        """Whether it is YAML's way to write nothing."""
        return self.plain and self.text in _NULL

    @property
    def names_variables(self) -> bool:
        """Whether some of it comes from the environment."""
        return any(match["name"] for match in VARIABLE.finditer(self.text))


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    position: Position | None
    items: list[Node]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys with their values, in order; a key may be there twice."""

    position: Position | None
    entries: list[tuple[Scalar, Node]]


Node: TypeAlias = Scalar | Sequence | Mapping


def read_text(path: Path, *, streams: bool = False) -> str:
    """Read a file of UTF-8 text.

    Args:
        path: the file.
        streams: a pipe or a terminal will do as well.

    Raises:
        ProfileError: missing, unreadable, not a file, too large or not UTF-8.
    """
    source = str(path)
    try:
        data = read_file(path, MAX_BYTES + 1, streams=streams)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ProfileError([Problem(source, None, "", f"cannot read it: {reason}")]) from None
    except ValueError:  # NUL in the name
        raise ProfileError([Problem(repr(source), None, "", "not a file name")]) from None
    return decode(data, source)


def decode(data: bytes, source: str) -> str:
    """The text of a profile.

    Raises:
        ProfileError: too large, or not UTF-8.
    """
    if len(data) > MAX_BYTES:
        message = f"too large for a profile: more than {MAX_BYTES // 2**20} MiB"
        raise ProfileError([Problem(source, None, "", message)])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        message = f"not UTF-8 text (byte 0x{data[error.start]:02x})"
        raise ProfileError([Problem(source, _end_of(before), "", message)]) from None


def check_characters(text: str, source: str) -> None:
    """Refuse the characters that YAML refuses.

    Raises:
        ProfileError: naming the first one.
    """
    match = _UNPRINTABLE.search(text)
    if match is not None:
        message = f"invalid character (U+{ord(match[0]):04X})"
        position = _end_of(text[: match.start()])
        raise ProfileError([Problem(source, position, "", message)])


def compose(text: str, source: str) -> Node | None:
    """Build the tree of a YAML text; None if there is nothing in it.

    Raises:
        ProfileError: not YAML, or YAML that a profile has no use for.
    """
    composer = _Composer(source)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        position, message = explain(error, text)
        raise ProfileError([Problem(source, position, "", message)]) from None
    return composer.root


class _Composer:
    """Turns events into nodes, with a stack of its own in place of recursion."""

    def __init__(self, source: str) -> None:
        self.root: Node | None = None
        self._source = source
        self._open: list[Sequence | Mapping] = []
        self._keys: list[Scalar | None] = []  # of each open collection: the key that waits
        self._anchors: dict[str, Node] = {}
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        assert mark is not None
        position = Position(mark.line + 1, mark.column + 1)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._problem(position, "a second YAML document (---)")
            case yaml.AliasEvent():
                self._add(self._resolve(event.anchor or "", position))
            case yaml.ScalarEvent():
                if event.tag is not None:
                    raise self._tag(event.tag, position)
                plain = event.style is None or event.style == ""
                self._add(self._anchored(event, Scalar(position, event.value, plain)))
            case yaml.CollectionStartEvent():
                if event.tag is not None:
                    raise self._tag(event.tag, position)
                if len(self._open) == MAX_DEPTH:
                    raise self._problem(position, "nested too deeply")
                sequence = isinstance(event, yaml.SequenceStartEvent)
                node = Sequence(position, []) if sequence else Mapping(position, [])
                self._add(self._anchored(event, node))
                self._open.append(node)
                self._keys.append(None)
            case yaml.CollectionEndEvent():
                self._open.pop()
                self._keys.pop()

    def _add(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent, key = self._open[-1], self._keys[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif key is not None:
            parent.entries.append((key, node))
            self._keys[-1] = None
        elif not isinstance(node, Scalar):
            raise self._problem(node.position, "expected a key, a plain word")
        elif node.text == "<<" and node.plain:
            message = "merge keys (<<) are not supported: write the keys where they are needed"
            raise self._problem(node.position, message)
        else:
            self._keys[-1] = node

    def _anchored(self, event: yaml.NodeEvent, node: Node) -> Node:
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _resolve(self, anchor: str, position: Position) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            raise self._problem(position, f"unknown alias *{anchor}: no &{anchor} before it")
        if any(node is each for each in self._open):
            raise self._problem(position, f"alias *{anchor} contains itself")
        return node

    def _tag(self, tag: str, position: Position) -> ProfileError:
        name = tag.replace("tag:yaml.org,2002:", "!!")
        return self._problem(position, f"YAML tags are not supported ({name})")

    def _problem(self, position: Position | None, message: str) -> ProfileError:
        return ProfileError([Problem(self._source, position, "", message)])


def _end_of(text: str) -> Position:
    lines = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text)
    return Position(len(lines), len(lines[-1]) + 1)
