"""What took longest in a run of the tests, by the file that pytest's `--junit-xml` has written."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST = 10


def slowest(results: Path) -> Iterator[str]:
    """Lines that say which files and which tests took longest, in seconds."""
    files: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    for case in ET.parse(results).iter("testcase"):
        module = case.attrib["classname"]
        seconds = float(case.attrib["time"])
        files[module] += seconds
        tests[f"{module}: {case.attrib['name']}"] += seconds
    for what, times in (("files", files), ("tests", tests)):
        yield f"slowest {what}:"
        yield from (f"  {seconds:6.1f} s  {name}" for name, seconds in times.most_common(MOST))
