"""Reading files that may be no files: nothing waits for what never comes."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from trio_lb.config import ProfileError, load_profile, parse_profile
from trio_lb.config.files import read_file

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "servers: http://127.0.0.1:3001\n"


def test_a_file_and_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert read_file(tmp_path / "x", 10) == b"abc"
    assert read_file(tmp_path / "x", 2) == b"ab"
    (tmp_path / "link").symlink_to("x")
    assert read_file(tmp_path / "link", 10) == b"abc"


@pytest.mark.parametrize("streams", [False, True])
def test_a_directory_is_none(streams: bool, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot read it: is a directory"):
        load_profile(tmp_path, streams=streams)


def test_a_fifo_that_nobody_writes_into_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.yaml")
    with pytest.raises(ProfileError, match=r"x\.yaml: cannot read it: it is not a regular file$"):
        load_profile(tmp_path / "x.yaml")
    with pytest.raises(ProfileError, match="it is a pipe that nothing was written to"):
        load_profile(tmp_path / "x.yaml", streams=True)


def test_a_device_is_read_as_far_as_a_profile_goes() -> None:
    with pytest.raises(ProfileError, match="it is not a regular file"):
        load_profile("/dev/zero")
    with pytest.raises(ProfileError, match="too large for a profile"):
        load_profile("/dev/zero", streams=True)


def test_a_pipe_is_read_to_its_end() -> None:
    """As a shell passes it, `<(command)`, whose output may take a moment."""
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w") as pipe:

        def write() -> None:
            pipe.write(TEXT)
            pipe.close()

        later = threading.Timer(0.1, write)
        later.start()
        assert load_profile(f"/dev/fd/{reading}", streams=True) == parse_profile(TEXT)
        later.join()


def test_an_error_page_is_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.html")
    with pytest.raises(ProfileError, match=r"a readable file \(it is not a regular file\)"):
        parse_profile(f"{TEXT}error_pages: {{503: {tmp_path}/x.html}}\n")
