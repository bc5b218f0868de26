"""Results in a folder: Markdown to read, JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def save(
    directory: Path,
    stem: str,
    title: str,
    facts: Mapping[str, str],
    tables: str,
    results: Mapping[str, object],
) -> None:
    """Prints facts and tables, and writes them to STEM.md, and all results to STEM.json."""
    text = (
        f"# {title}\n\n"
        + "".join(f"- {key}: {value}\n" for key, value in facts.items())
        + "\n"
        + tables
    )
    print("\n" + text)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{stem}.md").write_text(text)
    document = {"facts": facts, **results}
    (directory / f"{stem}.json").write_text(json.dumps(document, default=_plain, indent=1) + "\n")
    print(f"saved {stem}.md and {stem}.json in {directory}")


def _plain(value: object) -> object:
    """Returns what JSON knows for a result."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"no JSON for {value!r}")
