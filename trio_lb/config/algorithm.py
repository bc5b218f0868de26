"""What a profile calls the algorithms by which servers are picked."""

from __future__ import annotations

import difflib
from typing import Final

from trio_lb.config.units import Leaf
from trio_lb.plan.algorithm import Algorithm

SHORT_NAMES: Final = {
    "".join(word[0] for word in algorithm.split("_")): algorithm for algorithm in Algorithm
}
"""`rr` for round_robin and so on."""


def parse_algorithm(text: str) -> Algorithm:
    """Read the name of an algorithm, long or short.

    Raises:
        ValueError: no such algorithm; names the nearest one.
    """
    names = {**{str(algorithm): algorithm for algorithm in Algorithm}, **SHORT_NAMES}
    name = text.strip().lower().replace("-", "_").replace(" ", "_")
    if name in names:
        return names[name]
    near = difflib.get_close_matches(name, names, 1)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    known = ", ".join(f"{long} ({short})" for short, long in SHORT_NAMES.items())
    raise ValueError(f"unknown algorithm: {hint}expected one of {known}")


ALGORITHM: Final = Leaf(parse_algorithm, str, {"enum": [*Algorithm, *SHORT_NAMES]})
