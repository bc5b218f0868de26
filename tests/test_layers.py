"""Who may import whom: the layers of the architecture, held against every import there is.

A module imports only from layers below its own, and within its folder without circles. An import
inside a function or under TYPE_CHECKING counts like any other.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGE = "trio_lb"


@dataclass(frozen=True)
class Row:
    """One line of the layer table; lists are words separated by spaces.

    Attributes:
        layer: parts of lower layers may be imported.
        parts: modules and folders directly below the package that this line is about.
        beside: parts of the same layer that may be imported as well.
        never: parts of lower layers and modules of the standard library that may not.
        outside: packages that may be imported besides the standard library.
    """

    layer: int
    parts: str
    beside: str = ""
    never: str = ""
    outside: str = ""


SANS_IO = "asyncio logging select selectors signal socket ssl subprocess threading time"
OUR_PYTHON = (
    "errors accounts plan config http http1 pool net upstream downstream proxy health observe "
    "runtime supervise cli"
)
TABLE_AND_CODEC = "fast.table fast.http1"
CLOCK_AND_SOCKETS = "fast.clock fast.sockets"

TABLE = [
    Row(0, "errors accounts logs"),
    Row(0, "plan", outside="msgspec"),
    Row(0, "config", beside="errors accounts plan", outside="yaml msgspec"),
    Row(1, "fast"),
    Row(1, TABLE_AND_CODEC, never=OUR_PYTHON),
    Row(1, "fast.record", beside="fast.http1", never=OUR_PYTHON),
    Row(2, "http", never=f"config fast.table {SANS_IO}"),
    Row(2, "pool", never=f"config fast.http1 {SANS_IO}"),
    Row(3, "http1", never=f"config fast.table pool {SANS_IO}", outside="h11"),
    Row(3, CLOCK_AND_SOCKETS, never=f"{OUR_PYTHON} {TABLE_AND_CODEC}", outside="trio"),
    Row(
        3, "fast.loop", beside="fast.clock", never=f"{OUR_PYTHON} {TABLE_AND_CODEC}", outside="trio"
    ),
    Row(
        3,
        "net",
        beside=CLOCK_AND_SOCKETS,
        never=f"config pool http {TABLE_AND_CODEC}",
        outside="trio",
    ),
    Row(4, "upstream downstream", never="config", outside="trio"),
    Row(4, "observe", never="config", outside="trio rich msgspec"),
    Row(4, "fast.exchange", never=OUR_PYTHON, outside="trio"),
    Row(5, "proxy", never="config http1", outside="trio"),
    Row(5, "health", never="config fast.exchange http1", outside="trio msgspec"),
    Row(6, "runtime", outside="trio"),
    Row(7, "supervise", outside="trio msgspec"),
    Row(7, "__init__"),
    Row(8, "cli __main__", beside="cli", outside="trio h11 rich yaml argparse_addons"),
]
ROWS = {part: row for row in TABLE for part in row.parts.split()}

SOURCES = sorted(
    [
        *(ROOT / PACKAGE).rglob("*.py"),
        *(path for path in (ROOT / "ext" / PACKAGE).rglob("[!_]*.p[yx][xdi]")),
    ]
)


def module_of(path: Path) -> str:
    """Dotted name below the package; `__init__` only for the package itself."""
    base = ROOT / (PACKAGE if path.suffix == ".py" else f"ext/{PACKAGE}")
    name = ".".join(path.relative_to(base).with_suffix("").parts)
    return name.removesuffix(".__init__")


def dotted(path: Path) -> str:
    """Dotted name of a module, its package's included."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = dotted(path).split(".")
    base = parts[: len(parts) - node.level + (path.stem == "__init__")]
    return ".".join([*base, *filter(None, [node.module])])


def python_imports(path: Path, tree: ast.AST) -> Iterator[str]:
    """Whole dotted names of all that is imported, `a.b.c` for `from a.b import c`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(path, node)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def cython_imports(source: str) -> list[str]:
    pattern = r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))"
    return [one or other for one, other in re.findall(pattern, source, re.MULTILINE)]


def part_named(name: str) -> str:
    """Which part an imported name of our package belongs to."""
    _, first, second, *_ = [*name.split("."), "", ""]
    return next((part for part in (f"{first}.{second}", first) if part in ROWS), "__init__")


def trespasses(part: str, imports: list[str]) -> list[str]:
    """Those of `imports` that a module of `part` has no business with."""
    row = ROWS[part]
    compiled = part.startswith("fast.")

    def fine(name: str) -> bool:
        top = name.split(".")[0]
        if top == PACKAGE:
            other = part_named(name)
            return (
                other == part
                or other in row.beside.split()
                or (ROWS[other].layer < row.layer and other not in row.never.split())
            )
        if compiled and top in ("cython", "cpython", "libc"):
            return True
        allowed = top in sys.stdlib_module_names or top in row.outside.split()
        return allowed and top not in row.never.split()

    return [name for name in imports if not fine(name)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_come_from_below(path: Path) -> None:
    part = part_named(f"{PACKAGE}.{module_of(path)}")
    assert part != "__init__" or path.stem == "__init__", f"{path} has no line in the layer table"
    source = path.read_text()
    if path.suffix == ".py":
        imports = list(python_imports(path, ast.parse(source)))
    else:
        imports = cython_imports(source)
    assert trespasses(part, imports) == []


#: Modules that know each other's types: a session makes streams, and each stream belongs to one.
PAIRS = {("trio_lb.downstream.http1_stream", "trio_lb.downstream.http1_session")}


@pytest.mark.parametrize("folder", [PACKAGE, "benchmarks", "scripts"])
def test_no_circles(folder: str) -> None:
    """Not even of imports that only a type checker follows, but for `PAIRS`."""
    paths = {dotted(path): path for path in (ROOT / folder).rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        names = python_imports(path, ast.parse(path.read_text()))
        # `from a.b import c` needs module a.b.c if there is one, otherwise module a.b.
        needed = {name if name in paths else name.rpartition(".")[0] for name in names}
        graph[module] = {each for each in needed & paths.keys() if (module, each) not in PAIRS}
        graph[module].discard(module)
    TopologicalSorter(graph).prepare()


def names_of(room: Path) -> dict[str, set[str]]:
    """Where a room's files have names of other rooms from."""
    homes: dict[str, set[str]] = {}
    pattern = re.compile(r"^from (trio_lb\S+) cimport (\([^)]*\)|.*)$", re.MULTILINE)
    for path in sorted(room.glob("*.p??")):
        for home, names in pattern.findall(path.read_text()):
            for name in re.findall(r"\w+", names):
                homes.setdefault(name, set()).add(home)
    return homes


@pytest.mark.parametrize("room", ["table", "http1", "record", "loop", "exchange"])
def test_a_name_means_one_thing_in_a_room(room: str) -> None:
    """All of a room is one module: of two names alike, Cython takes one, and says nothing."""
    folder = ROOT / "ext" / PACKAGE / "fast" / room
    homes = names_of(folder)
    assert [name for name, where in homes.items() if len(where) > 1] == []
    source = "".join(path.read_text() for path in sorted(folder.glob("*.p??")))
    made = re.findall(
        r"^cdef (?:inline )?[\w *]*?\b(\w+)\(|^cdef (?:class|struct) (\w+)", source, re.MULTILINE
    )
    assert {one or other for one, other in made} & homes.keys() == set()


def test_the_architecture_has_the_same_table() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    told: dict[str, tuple[int, set[str]]] = {}
    for layer, rooms, packages in re.findall(
        r"^\| (\d) \| (.*?) \| .* \| (.*?) ?\|$", text, re.MULTILINE
    ):
        outside = set(packages.replace(",", " ").split())
        for room in re.findall(r"`(.*?)`", rooms):
            told[room.replace("/", ".")] = int(layer), outside
    held = {part: (row.layer, set(row.outside.split())) for part, row in ROWS.items()}
    for part in ("fast", "__init__", "__main__"):  # which have nothing of their own
        del held[part]
    assert told == held


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("pool", "trio"),
        ("pool", "time"),
        ("pool", "trio_lb.http.heads"),
        ("pool", "trio_lb.net"),
        ("pool", "h11"),
        ("http", "trio_lb.fast.table"),
        ("http", "trio_lb.pool"),
        ("http", "trio_lb.http1.strict"),
        ("config", "msgspec_extra"),
        ("errors", "trio_lb.config"),
        ("plan", "trio_lb.config"),
        ("proxy", "trio_lb.config.model"),
        ("fast.table", "trio_lb.errors"),
        ("fast.loop", "trio_lb.fast.table"),
        ("net", "trio_lb.http"),
        ("upstream", "trio_lb.downstream.proxy_header"),
        ("observe", "trio_lb.proxy.forward"),
        ("downstream", "trio_lb.upstream.stream"),
        ("proxy", "trio_lb.runtime.service"),
        ("proxy", "trio_lb.http1.h11_codec"),
        ("proxy", "h11"),
        ("proxy", "trio_lb.Profile"),
        ("runtime", "trio_lb.cli"),
    ],
)
def test_trespasses_are_seen(part: str, name: str) -> None:
    assert trespasses(part, [name]) == [name]


def test_imports_are_found_wherever_they_are() -> None:
    path = ROOT / PACKAGE / "pool" / "pool.py"
    code = "import a.b\nfrom . import c\nfrom .d import e\nfrom ..f import g\ndef h():\n import i\n"
    expected = ["a.b", "trio_lb.pool.c", "trio_lb.pool.d.e", "trio_lb.f.g", "i"]
    assert list(python_imports(path, ast.parse(code))) == expected
    package = path.with_name("__init__.py")
    assert list(python_imports(package, ast.parse("from .d import e"))) == ["trio_lb.pool.d.e"]
    code = "cimport cython\nfrom trio_lb.fast.table cimport (\n    a,\n)\n\n    import x.y\n"
    assert cython_imports(code) == ["cython", "trio_lb.fast.table", "x.y"]
