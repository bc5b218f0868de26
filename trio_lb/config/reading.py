"""A tree of nodes to a `Profile`, or all the problems in it.

The walk follows the model's types. A problem is noted and the walk goes on, so that one run
reports all of them.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from trio_lb.config.conflicts import conflicts, doubts
from trio_lb.config.kinds import Kind, keys_of
from trio_lb.config.loading import VARIABLE, Mapping, Node, Scalar, Sequence
from trio_lb.config.model import SHORT_FORMS, HealthCheck, Listen, Profile, Server
from trio_lb.config.old_keys import OLD_KEYS
from trio_lb.config.problems import Position, Problem, ProfileError, joined
from trio_lb.config.spaces import missing_space
from trio_lb.config.units import Leaf, is_off
from trio_lb.config.values import MAX_NAME, NAME
from trio_lb.plan import Address

if TYPE_CHECKING:
    import collections.abc
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from msgspec import Struct

Review: TypeAlias = "Callable[[Profile], Iterable[tuple[str, str]]]"
"""Gives the paths of values and what is wrong with each."""

_WRONG: Final[Any] = object()
"""Stands for a value that couldn't be read; its problem is noted."""

_HINT: Final = re.compile(r' \(did you mean ".*"\?\)', re.DOTALL)
_PLAIN_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,10})?")


def read_profile(
    root: Node,
    source: str,
    environ: collections.abc.Mapping[str, str],
    problems: Iterable[Problem] = (),
    *,
    review: Review | None = None,
    warn: Callable[[Problem], None] | None = None,
) -> Profile:
    """Read a profile from its tree.

    Args:
        root: the tree.
        source: name of the text for error messages.
        environ: what `${NAME}` stands for.
        problems: what was already found wrong in the text.
        review: finds what is wrong with a profile that is right by itself.
        warn: called with what may be a mistake.

    Raises:
        ProfileError: with everything that is wrong in it.
    """
    reader = _Reader(source, environ)
    reader.problems.extend(problems)
    profile = reader.struct(Profile, root, "")
    reader.cross_check()
    if not reader.problems and review is not None:
        reader.note_all(review(profile))
    if reader.problems:
        raise ProfileError(reader.problems)
    assert isinstance(profile, Profile)
    if warn is not None:
        for problem in reader.old_keys:
            warn(problem)
        for path, message in doubts(profile):
            warn(reader.problem(path, message))
    return profile


class _Reader:
    def __init__(self, source: str, environ: collections.abc.Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.old_keys: list[Problem] = []  # with what to write instead
        self._noted: set[tuple[Position | str, str]] = set()
        self._source = source
        self._environ = environ
        self._places: dict[str, Position | None] = {}  # of all paths that were read
        self._off: set[str] = set()  # lists that there are none of
        self._from_environment: dict[str, str] = {}  # as they are written, by their paths
        self._check_port: int | None = None
        self._listen: dict[str, Listen] = {}
        self._servers: dict[str, Server] = {}

    def struct(self, struct: type[Struct], node: Node, path: str) -> Any:
        """Read a mapping, or the scalar that is short for it."""
        self._places[path] = node.position
        keys = keys_of(struct)
        short = SHORT_FORMS.get(struct)
        if isinstance(node, Scalar) and short is not None:
            (key,) = (key for key in keys.values() if key.field == short)
            value = self._value(key.kind, node, path)
            return self._built(struct, {short: value}, path)
        if not isinstance(node, Mapping):
            what = "a URL or a mapping" if struct in (Listen, Server) else "a mapping"
            shown = ", ".join(list(keys)[:4]) + (", ..." if len(keys) > 4 else "")
            return self._wrong(node, path, f"expected {what} with keys such as {shown}")
        values: dict[str, Any] = {}
        entries = list(self._entries(node, path))
        for name, value in entries:
            if struct is Profile and name.text in OLD_KEYS:
                self._old_key(name, value, {key.text for key, _ in entries}, values)
                continue
            if name.text not in keys:
                self._unknown(name, path, list(keys))
                continue
            key = keys[name.text]
            values[key.field] = self._value(key.kind, value, joined(path, key.name))
        for key in keys.values():
            if key.required and key.field not in values:
                self._note(node.position, joined(path, key.name), "missing: it is required")
                values[key.field] = _WRONG
        return self._built(struct, values, path)

    def cross_check(self) -> None:
        """Note what is right by itself but can't be together."""
        listen = self._listen
        if "listen" not in self._places:
            (listen["listen"],) = keys_of(Profile)["listen"].default
        trusted = "trusted_proxies" in self._places.keys() - self._off
        self.note_all(conflicts(listen, self._servers, trusted, self._check_port))

    def note_all(self, found: Iterable[tuple[str, str]]) -> None:
        """Note what is wrong with values that were read."""
        self.problems += [self.problem(path, message) for path, message in found]

    def problem(self, path: str, message: str) -> Problem:
        """What is wrong with a value that was read; one may stand without its list."""
        for key in (path, path.removesuffix("[0]")):
            if key in self._places:
                return Problem(self._source, self._places[key], key, message)
        return Problem(self._source, None, path, message)

    def _built(self, struct: type[Struct], values: dict[str, Any], path: str) -> Any:
        if _WRONG in values.values():
            return _WRONG
        if struct is Profile:
            values["from_environment"] = self._from_environment
        value = struct(**values)
        if isinstance(value, Server):
            self._servers[path] = value
        elif isinstance(value, Listen):
            self._listen[path] = value
        elif isinstance(value, HealthCheck):
            self._check_port = value.port
        return value

    def _entries(self, node: Mapping, path: str) -> Iterator[tuple[Scalar, Node]]:
        """The entries of a mapping without those that repeat a key, which are noted."""
        seen: dict[str, Position | None] = {}
        for key, value in node.entries:
            if key.text in seen:
                first = seen[key.text]
                where = f" (first at {first.line}:{first.column})" if first else ""
                message = f"a second time{where}"
                self._note(key.position, joined(path, key.text), message)
                continue
            seen[key.text] = key.position
            yield key, value

    def _unknown(self, key: Scalar, path: str, known: list[str]) -> None:
        if message := missing_space(key.text):
            self._note(key.position, path, message)
            return
        near = difflib.get_close_matches(key.text.lower().replace("-", "_"), known, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"expected one of {', '.join(known)}"
        self._note(key.position, joined(path, key.text), f"unknown key: {hint}")

    def _old_key(
        self, name: Scalar, node: Node, written: AbstractSet[str], values: dict[str, Any]
    ) -> None:
        """Read a key of the profile by the name that it had."""
        old = OLD_KEYS[name.text]
        if old.now in written:
            message = f"is called {old.now} now, which is there as well: leave {name.text} out"
            self._note(name.position, name.text, message)
            return
        value = self._leaf(Kind(leaf=old.leaf), node, name.text)
        self._from_environment.pop(name.text, None)
        key = None if old.now is None else keys_of(Profile)[old.now]
        if value is _WRONG:
            if key is not None:
                values[key.field] = _WRONG
            return
        if key is not None:
            assert key.kind.leaf is not None
            values[key.field] = key.kind.leaf.parse(old.values[value])
        self.old_keys.append(Problem(self._source, name.position, name.text, old.advice(value)))

    def _value(self, kind: Kind, node: Node, path: str) -> Any:
        self._places[path] = node.position
        if kind.struct is not None:
            return self.struct(kind.struct, node, path)
        if kind.item is not None:
            if kind.optional and self._is_off(node, path):
                self._off.add(path)
                return None
            return self._items(kind.item, node, path)
        if kind.entry is not None:
            return self._table(*kind.entry, node, path)
        return self._leaf(kind, node, path)

    def _table(self, key_leaf: Leaf, value_leaf: Leaf, node: Node, path: str) -> Any:
        """Read a mapping whose keys are values themselves."""
        if not isinstance(node, Mapping):
            return self._wrong(node, path, "expected a mapping")
        values: dict[Any, Any] = {}
        for name, value in self._entries(node, path):
            place = joined(path, name.text)
            key = self._parsed(Kind(leaf=key_leaf), name, place, name.text)
            if key in values and key is not _WRONG:
                key = self._wrong(name, place, "expected each of them once")
            if key is not _WRONG:
                place = f"{path}.{key_leaf.format(key)}"
            values[key] = self._leaf(Kind(leaf=value_leaf), value, place)
        return _WRONG if _WRONG in (*values, *values.values()) else values

    def _is_off(self, node: Node, path: str) -> bool:
        if not isinstance(node, Scalar):
            return False
        text = self._expand(node, path)
        off = node.is_null or (text is not _WRONG and is_off(text))
        if off and text != node.text:
            self._from_environment[path] = node.text
        return off

    def _items(self, kind: Kind, node: Node, path: str) -> Any:
        """Read a list; one item may stand without its list."""
        if not isinstance(node, Sequence):
            if isinstance(node, Scalar) and node.is_null:
                return self._wrong(node, path, "expected at least one")
            value = self._value(kind, node, path)
            return _WRONG if value is _WRONG else (value,)
        if not node.items:
            return self._wrong(node, path, "expected at least one")
        values = [
            self._value(kind, item, f"{path}[{index}]") for index, item in enumerate(node.items)
        ]
        return _WRONG if _WRONG in values else tuple(values)

    def _leaf(self, kind: Kind, node: Node, path: str) -> Any:
        assert kind.leaf is not None
        if not isinstance(node, Scalar):
            return self._wrong(node, path, "expected a single value")
        text = self._expand(node, path)
        if text is _WRONG:
            return _WRONG
        value = self._parsed(kind, node, path, text)
        if not node.names_variables:
            return value
        self._from_environment[path] = node.text
        return _as_written(kind, value, node.text, path)

    def _parsed(self, kind: Kind, node: Scalar, path: str, text: str) -> Any:
        """The value of a text: that of the node, or what became of it by the environment."""
        assert kind.leaf is not None
        if kind.optional and (node.is_null or is_off(text)):
            return None
        try:
            return kind.leaf.parse(text)
        except ValueError as error:
            message = str(error)
            if node.names_variables:  # a hint has parts of the text, which may be a secret
                message = _HINT.sub("", message)
            off = ", or off" if kind.optional and "off" not in message else ""
            return self._wrong(node, path, f"{message}{off}", text)

    def _expand(self, node: Scalar, path: str) -> Any:
        """The text of a scalar with `${NAME}`, `${NAME:-default}` and `$$` replaced."""

        def expanded(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            name, default = match["name"], match["default"]
            if match["bad"]:
                wrong.append("expected ${NAME} or ${NAME:-default}; a plain $ is written $$")
            elif default is not None and "${" in default:
                wrong.append("a default cannot contain another ${...}")
            elif default is not None:
                return self._environ.get(name) or default[2:]
            elif name not in self._environ:
                wrong.append(
                    f"the environment variable {name} is not set; "
                    f"${{{name}:-default}} would give a default"
                )
            else:
                return self._environ[name]
            return ""

        wrong: list[str] = []
        text = VARIABLE.sub(expanded, node.text)
        if wrong:
            self._note(node.position, path, wrong[0])
            return _WRONG
        return text

    def _wrong(self, node: Node, path: str, message: str, text: str | None = None) -> Any:
        if isinstance(node, Scalar) and node.names_variables:
            text = node.text
        if isinstance(node, Scalar) and node.plain:
            message = missing_space(node.text) or message
        self._note(node.position, path, f"{message}, got {_shown(node, text)}")
        return _WRONG

    def _note(self, position: Position | None, path: str, message: str) -> None:
        """Note a problem, once for a value that stands for two keys (an alias, say)."""
        if (position or path, message) not in self._noted:
            self._noted.add((position or path, message))
            self.problems.append(Problem(self._source, position, path, message))


def _shown(node: Node, text: str | None) -> str:
    """A value as a message shows it: short, on one line, and safe for a terminal."""
    if isinstance(node, Sequence):
        return "a list" if node.items else "an empty list"
    if isinstance(node, Mapping):
        return "a mapping"
    if node.is_null:
        return "nothing"
    text = node.text if text is None else text
    if _PLAIN_NUMBER.fullmatch(text):
        return text
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return f'"{_printable(text)}"'


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _as_written(kind: Kind, value: Any, text: str, path: str) -> Any:
    """A value that logs and reports name a server by, so that they do without the environment.

    What is too long for a name is called by its path.
    """
    written = VARIABLE.sub(lambda match: "$" if match[0] == "$$" else match[0], text)
    written = _printable(written.strip())
    if len(written) > MAX_NAME:
        written = path.removesuffix(".url")
    if isinstance(value, Address):
        return replace(value, written=written)
    return written if kind.leaf is NAME and value is not _WRONG else value
