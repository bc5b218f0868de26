"""The profile format of Bal.rs, the program of the article that trio-lb began with.

It is read line by line there: `key: value` with spaces in the keys, lists with commas, and remarks
that begin with `!!`. Here its lines become the same tree that YAML gives, so that its values are
checked by the same code and its errors have places too. What it leaves out has our defaults; what
Bal.rs silently ignores (unknown keys, unknown algorithms) is an error.
"""

from __future__ import annotations

import difflib
import re
from typing import Final

from trio_lb.config.loading import Mapping, Node, Scalar, Sequence
from trio_lb.config.problems import Position, Problem

_LINE: Final = re.compile(r"(?P<key>[A-Za-z][A-Za-z_ ]*?)[ \t]*:(?:[ \t]+(?P<value>.*?))?[ \t]*")
_REMARK: Final = re.compile(r"!!(?:\s.*)?")
_COMMENT: Final = re.compile(r"[ \t]*(?:#.*)?")

_PER_SERVER: Final = {"weights": "weight", "max connections": "max_connections"}
_KEYS: Final = (
    "load balancer",
    "algorithm",
    "servers",
    *_PER_SERVER,
    "timeout",
    "health check interval",
)
_NOT_OURS: Final = frozenset(_KEYS) - {"algorithm", "servers", "timeout"}
_YAML_ONLY: Final = ("[", "{", "&", "*", "|", ">", "'", '"')


def is_balrs(text: str) -> bool:
    """Whether a text is in the format of Bal.rs.

    It is if every line has its shape and at least one line can't be meant for us: a remark with
    `!!`, or a key that only Bal.rs has. Anything indented, nested or quoted is YAML.
    """
    marked = False
    for line in text.splitlines():
        if _COMMENT.fullmatch(line):
            continue
        if _REMARK.fullmatch(line):
            marked = True
            continue
        match = _LINE.fullmatch(line)
        if match is None or (match["value"] or "").startswith(_YAML_ONLY):
            return False
        if match["key"] == "listen":
            return False
        marked = marked or match["key"] in _NOT_OURS
    return marked


def compose(text: str, source: str) -> tuple[Node, list[Problem]]:
    """Build the tree of a profile in the format of Bal.rs, with our keys in it.

    Returns:
        The tree, and what is wrong with the lines themselves: unknown or repeated keys, and lists
        that don't fit the servers.
    """
    lines, problems = _read_lines(text, source)
    entries: list[tuple[Scalar, Node]] = []
    health: list[tuple[Scalar, Node]] = []
    for name, (key, value) in lines.items():
        match name:
            case "load balancer":
                entries.append((Scalar(key.position, "listen"), value))
            case "servers":
                entries.append((key, _servers(lines, source, problems)))
            case "health check interval":
                health.append((Scalar(key.position, "interval"), value))
            case "timeout":  # Bal.rs holds its checks to it too
                entries.append((key, value))
                health.append((key, value))
            case "algorithm":
                entries.append((key, value))
    if health:
        key = health[0][0]
        entries.append((Scalar(key.position, "health_check"), Mapping(key.position, health)))
    return Mapping(Position(1, 1), entries), problems


_Lines = dict[str, tuple[Scalar, Scalar]]


def _read_lines(text: str, source: str) -> tuple[_Lines, list[Problem]]:
    lines: _Lines = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        name, position = match["key"], Position(number, 1)
        if name not in _KEYS:
            near = difflib.get_close_matches(name.replace("_", " "), _KEYS, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"expected one of {', '.join(_KEYS)}"
            message = f"unknown key in the format of Bal.rs: {hint}"
            problems.append(Problem(source, position, name, message))
        elif name in lines:
            first = _place(lines[name][0])
            message = f"a second time (first at {first.line}:{first.column})"
            problems.append(Problem(source, position, name, message))
        else:
            start = match.start("value") if match["value"] else match.end("key") + 1
            value = Scalar(Position(number, start + 1), match["value"] or "")
            lines[name] = (Scalar(position, name), value)
    return lines, problems


def _servers(lines: _Lines, source: str, problems: list[Problem]) -> Node:
    urls = _split(lines["servers"][1])
    columns = {}
    for name, field in _PER_SERVER.items():
        if name not in lines:
            continue
        values = _split(lines[name][1])
        if len(values) != len(urls):
            message = f"expected {len(urls)}, one for each server, got {len(values)}"
            problems.append(Problem(source, lines[name][1].position, name, message))
            continue
        if field == "max_connections":
            problems += [
                Problem(source, value.position, name, "0 would allow no request at all")
                for value in values
                if value.text == "0"
            ]
        columns[field] = values
    return Sequence(
        lines["servers"][1].position,
        [
            Mapping(
                url.position,
                [
                    (Scalar(url.position, "url"), url),
                    *(
                        (Scalar(values[index].position, field), values[index])
                        for field, values in columns.items()
                    ),
                ],
            )
            for index, url in enumerate(urls)
        ],
    )


def _place(value: Scalar) -> Position:
    assert value.position is not None
    return value.position


def _split(value: Scalar) -> list[Scalar]:
    """The items of a list with commas, each with its own place."""
    if not value.text:
        return []
    items = []
    line, column = _place(value)
    for part in value.text.split(","):
        indent = len(part) - len(part.lstrip())
        items.append(Scalar(Position(line, column + indent), part.strip()))
        column += len(part) + 1
    return items
