"""YAML's error messages, reworded for users who don't know its specification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_lb.config.problems import Position
from trio_lb.config.spaces import missing_space

if TYPE_CHECKING:
    import yaml

_STRAY: Final = "this does not fit here: wrong indentation, or something too much"
_REMARK: Final = '"!!" begins a remark only in the format of Bal.rs: write "#"'

# What libyaml or PyYAML's own scanner say, and our words for it; the first that fits is taken.
# {begun} becomes the place where the quote, list or mapping in question began.
_WORDS: Final = (
    (
        "mapping values are not allowed",
        'unexpected ":": wrong indentation, or a value that needs quotes',
    ),
    ("found unexpected", "a quote{begun} that is never closed"),
    ("',' or ']'", 'expected "," or "]" in the list{begun}'),
    ("',' or '}'", 'expected "," or "}}" in the mapping{begun}'),
    ("find expected ':'", 'expected ":" after the key{begun}'),
    ("'-' indicator", _STRAY),
    ("expected key", _STRAY),
    ("<block end>", _STRAY),
    ("<document start>", _STRAY),
    ("tag URI", _REMARK),
    ("expected URI", _REMARK),
    ("node content", "expected a value here"),
)


def explain(error: yaml.MarkedYAMLError, text: str) -> tuple[Position, str]:
    """Where a YAML text is wrong, and why, in words for users."""
    mark = error.problem_mark or error.context_mark
    problem = error.problem or "not YAML"
    if mark is None:
        return Position(1, 1), f"not YAML: {problem}"
    position = Position(mark.line + 1, mark.column + 1)
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "${" in line[: mark.column + 1][-2:]:
        return position, 'inside [ ] or { } a value with ${NAME} needs quotes: "${NAME}"'
    for number in (mark.line - 1, mark.line):  # the line before may be one text with this one
        if 0 <= number < len(lines) and (message := missing_space(lines[number])):
            return Position(
                number + 1, 1 + len(lines[number]) - len(lines[number].lstrip())
            ), message
    if "cannot start any token" in problem:
        return position, _bad_start(line[mark.column : mark.column + 1])
    begun = ""
    if error.context_mark is not None:
        begun = f" that begins at {error.context_mark.line + 1}:{error.context_mark.column + 1}"
    for fragment, words in _WORDS:
        if fragment in problem:
            return position, words.format(begun=begun)
    return position, f"not YAML: {problem}"


def _bad_start(character: str) -> str:
    if character == "\t":
        return "a tab can't indent in YAML: use spaces"
    return f'a value can\'t begin with "{character}" unless it is in quotes'
