"""All inputs that fuzzing begins with, and a number of new ones made of them."""

from __future__ import annotations

import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS
from tests.support.effort import effort

ROOT = Path(__file__).parents[2]
CORPUS = {name: seeds(name) for name in TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name: str) -> None:
    assert CORPUS[name]
    for data in CORPUS[name]:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
@effort(300)
@given(seed=st.integers(0, 2**32 - 1))
def test_mutants_of_the_corpus(name: str, seed: int) -> None:
    TARGETS[name](_mutant(CORPUS[name], random.Random(seed)))


@pytest.mark.parametrize("name", TARGETS)
@given(st.binary(max_size=200))
def test_noise(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.skipif(find_spec("atheris") is None, reason="not installed: atheris")
def test_the_fuzzer_itself() -> None:
    """A moment of what `make fuzz` does for half an hour."""
    command = [sys.executable, "-m", "tests.fuzz", "--minutes", str(len(TARGETS) / 60)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "failed: none"
    assert done.stderr.count("stat::number_of_executed_units") == len(TARGETS)


def _mutant(corpus: list[bytes], rng: random.Random) -> bytes:
    """Pieces of the corpus, joined and slightly damaged."""
    data = bytearray()
    for _ in range(rng.randint(1, 3)):
        source = rng.choice(corpus)
        start, end = sorted(rng.choices(range(len(source) + 1), k=2))
        data += source if rng.random() < 0.5 else source[start:end]
    for _ in range(rng.randint(0, 4)):
        at = rng.randint(0, len(data))
        data[at : at + rng.randint(0, 2)] = rng.choice(
            [b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b",", b"\0", b"0", b"f", b";", b"\x80"]
        )
    return bytes(data)
