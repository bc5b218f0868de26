"""What the documents say of keys, and where their links lead."""

from __future__ import annotations

import re
import shlex
import subprocess
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from msgspec.structs import replace

from trio_lb import cli
from trio_lb.config import Profile, json_schema, load_profile, parse_profile

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "profile.yaml"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def keys_in(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """All keys of a JSON Schema, as in `servers[].url`."""
    for name, value in schema.get("properties", {}).items():
        yield prefix + name
        yield from keys_in(value, f"{prefix}{name}.")
    for form in schema.get("anyOf", []):
        yield from keys_in(form, prefix)
        if "items" in form:
            yield from keys_in(form["items"], f"{prefix.removesuffix('.')}[].")


def keys_written(value: object, prefix: str = "") -> Iterator[str]:
    """All keys of a YAML document, in the same form."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield prefix + name
            yield from keys_written(inner, f"{prefix}{name}.")
    elif isinstance(value, list):
        for item in value:
            yield from keys_written(item, f"{prefix.removesuffix('.')}[].")


# These are a URL or a mapping, alone or in a list: only the list is documented.
KEYS = {key for key in keys_in(json_schema()) if not key.startswith(("listen.", "servers."))}


def test_the_example_is_right_has_every_key_and_shows_the_defaults() -> None:
    assert set(keys_written(yaml.safe_load(EXAMPLE.read_text()))) == KEYS
    profile = load_profile(EXAMPLE)
    assert profile == Profile(servers=profile.servers)
    for server in profile.servers:
        plain = replace(server, name=str(server.address))
        assert plain == type(server)(address=server.address)


def test_the_example_can_be_a_dict() -> None:
    text = EXAMPLE.read_text()
    assert parse_profile(yaml.safe_load(text), environ={}) == parse_profile(text, environ={})


def test_the_reference_has_every_key() -> None:
    reference = (ROOT / "docs" / "profile.md").read_text()
    documented = set(re.findall(r"^\| `([a-z_.\[\]]+)` \|.*\|.*\|.*\|$", reference, re.MULTILINE))
    assert documented == KEYS


def anchors(document: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_document_can_be_found_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    documents = chain((ROOT / "docs").glob("*.md"), (ROOT / "docs" / "examples").iterdir())
    missing = [path for path in documents if f"({path.relative_to(ROOT)})" not in readme]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        pytest.skip("names files of its time")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not in a repository")
    files = [f"/{path}" for path in listed.stdout.splitlines()]
    named = re.findall(r"`([\w./-]+\.(?:py|pyi|pyx|pxi|pxd|h|md))\b", document.read_text())
    assert [each for each in named if not any(path.endswith(f"/{each}") for path in files)] == []


def test_every_test_that_is_promised_exists() -> None:
    """docs/reliability.md: each row names the tests that show it."""
    lines = (ROOT / "docs" / "reliability.md").read_text().splitlines()
    rows = [line for line in lines if re.match(r"\| \d+ \|", line)]
    promised = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert all(promised), "a row without a test"
    tests = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    assert sorted(set(chain.from_iterable(promised)) - tests) == []


def blocks(document: Path, language: str) -> list[str]:
    """The blocks of code of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


COMMANDS = [
    (document, line)
    for document in DOCUMENTS
    for block in blocks(document, "sh")
    for line in block.splitlines()
    if line.startswith("trio-lb ")
]


@pytest.mark.parametrize(
    ("document", "line"), COMMANDS, ids=[f"{document.name} {line}" for document, line in COMMANDS]
)
def test_commands_are_right_in_every_shell(document: Path, line: str) -> None:
    """zsh takes unquoted wildcards that match no file for an error."""
    command = re.sub(r" +#.*$", "", line).split(" > ")[0]
    bare = re.sub(r""" "[^"$`\\]*"| '[^']*'""", " ", command)
    assert not re.search(r"[*?\[\]{}$~!<>|&;()]", bare), "needs quotes"
    arguments = shlex.split(command)[1:]
    assert cli._parser().parse_args(arguments).run


def test_the_readme_has_commands() -> None:
    told = [shlex.split(line)[1] for document, line in COMMANDS if document.name == "README.md"]
    assert {"start", "reload", "stop", "check"} <= set(told)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_whole_profiles_are_right(document: Path) -> None:
    for block in blocks(document, "yaml"):
        if re.search("^servers:", block, re.MULTILINE):
            parse_profile(block, document.name, {"APP_HOST": "app", "APP_WEIGHT": "2"})


def test_each_version_of_the_changelog_has_each_heading_once() -> None:
    versions = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    assert versions
    for version in versions:
        headings = re.findall(r"^### (.*)", version, flags=re.MULTILINE)
        assert sorted(set(headings), key=headings.index) == headings, version.splitlines()[0]
        entries = re.split(r"^- ", version, flags=re.MULTILINE)[1:]
        assert len(set(entries)) == len(entries), version.splitlines()[0]
