"""The leak check, and what it must not take for a leak."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.leaks import nothing_left

if TYPE_CHECKING:
    from collections.abc import Iterator


class Garbage:
    """Holds a descriptor until the garbage collector comes."""

    def __init__(self) -> None:
        self._file = os.open("/dev/null", os.O_RDONLY)
        self._itself = self

    def __del__(self) -> None:
        os.close(self._file)


@pytest.fixture
def _collected_when_told() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.collect()


@pytest.mark.usefixtures("_collected_when_told")
async def test_garbage_of_earlier_tests_may_go_meanwhile() -> None:
    Garbage()
    with nothing_left():
        gc.collect()


@pytest.mark.usefixtures("_collected_when_told")
async def test_what_is_left_to_the_collector_in_the_block_is_a_leak() -> None:
    with pytest.raises(AssertionError), nothing_left():
        Garbage()


async def test_an_open_descriptor_is_a_leak() -> None:
    with pytest.raises(AssertionError), nothing_left():
        descriptor = os.open("/dev/null", os.O_RDONLY)
    os.close(descriptor)
