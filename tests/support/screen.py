"""A terminal's screen, as far as the live report uses one: lines, cursor, erasing, scrolling."""

from __future__ import annotations

import re
from typing import Final

_PIECES: Final = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n\b])|([^\x1b\r\n\b]+)|\x1b")


class Screen:
    """What is seen, by lines.

    Args:
        columns, lines: its size; `resize` changes it as a terminal without reflow does.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.scrolled: list[str] = []  # off its top
        self.cursor_shown = True
        self._rows = [""] * lines
        self._row = self._column = 0
        self._wraps = False  # at the next character
        self._rest = ""

    @property
    def text(self) -> str:
        """All that is on it, without what is blank."""
        return "\n".join(row.rstrip() for row in self._rows).rstrip("\n")

    def resize(self, columns: int, lines: int) -> None:
        """Lines are cut at their end; too many of them scroll off the top."""
        while len(self._rows) > lines:
            self.scrolled.append(self._rows.pop(0))
            self._row = max(0, self._row - 1)
        self._rows += [""] * (lines - len(self._rows))
        self._rows = [row[:columns] for row in self._rows]
        self.columns, self.lines = columns, lines
        self._column = min(self._column, columns - 1)

    def feed(self, text: str) -> None:
        """Take what a program writes."""
        for parameters, command, control, plain in _PIECES.findall(text):
            if command:
                self._obey(parameters, command)
            elif control == "\n":
                self._line_feed()
            elif control == "\r":
                self._column, self._wraps = 0, False
            else:
                for character in plain:
                    self._put(character)

    def _obey(self, parameters: str, command: str) -> None:
        self._wraps = False
        number = int(parameters) if parameters.isdigit() else 1
        row = self._rows[self._row]
        match command:
            case "A":
                self._row = max(0, self._row - number)
            case "H":
                self._row = self._column = 0
            case "K":
                self._rows[self._row] = "" if parameters == "2" else row[: self._column]
            case "J":
                first = 0 if parameters == "2" else self._row + 1
                self._rows[first:] = [""] * (self.lines - first)
            case "h" | "l" if parameters == "?25":
                self.cursor_shown = command == "h"
            case "m" | "h" | "l":
                pass
            case _:
                raise AssertionError(f"the screen knows no {parameters}{command}")

    def _put(self, character: str) -> None:
        if self._wraps:
            self._column = 0
            self._line_feed()
        row = self._rows[self._row].ljust(self._column)
        self._rows[self._row] = row[: self._column] + character + row[self._column + 1 :]
        self._wraps = self._column + 1 == self.columns
        self._column += not self._wraps

    def _line_feed(self) -> None:
        self._wraps = False
        if self._row + 1 < self.lines:
            self._row += 1
        else:
            self.scrolled.append(self._rows.pop(0))
            self._rows.append("")
