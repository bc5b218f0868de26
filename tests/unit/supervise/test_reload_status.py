"""The status of reloads: what is written, who may read it, what a reader makes of anything else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from trio_lb.supervise.reload_status import ReloadStatus, StatusError, read_status, status_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pid_file(tmp_path: Path) -> str:
    return str(tmp_path / "x.pid")


def test_it_counts_what_begins_and_ends(pid_file: str) -> None:
    status = ReloadStatus()
    with status.shown_beside(pid_file):
        for number in range(3):
            told = read_status(pid_file)
            assert told is not None
            assert (told.pid, told.begun, told.ended) == (os.getpid(), number, number)
            status.begin()
            told = read_status(pid_file)
            assert told is not None
            assert (told.begun, told.ended) == (number + 1, number)
            status.end(["a" * 1000, "b"] * 100 if number == 1 else [])
            told = read_status(pid_file)
            assert told is not None
            assert len(told.problems) == (50 if number == 1 else 0)
            assert all(len(each) <= 500 for each in told.problems)
    assert not os.path.exists(status_file(pid_file))
    status.begin()  # nobody is told


def test_only_its_owner_may_read_it(pid_file: str) -> None:
    with ReloadStatus().shown_beside(pid_file):
        assert os.stat(status_file(pid_file)).st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_it_belongs_to_the_user_that_we_go_on_as(pid_file: str) -> None:
    with ReloadStatus().shown_beside(pid_file, owner=4321):
        assert os.stat(status_file(pid_file)).st_uid == 4321


def test_what_was_left_behind_is_replaced_and_not_written_into(
    pid_file: str, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("precious")
    os.symlink(tmp_path / "other", status_file(pid_file))
    with ReloadStatus().shown_beside(pid_file):
        assert read_status(pid_file) is not None
    assert (tmp_path / "other").read_text() == "precious"


@pytest.mark.parametrize("text", [b"", b"\n", b"00000000 {}\n", b"x" * 1000, b"\xff\x00 \n"])
def test_what_is_half_written_is_read_again(text: bytes, pid_file: str, tmp_path: Path) -> None:
    (tmp_path / "x.pid.status").write_bytes(text)
    assert read_status(pid_file) is None


def test_what_is_no_file_is_no_status(pid_file: str) -> None:
    with pytest.raises(StatusError, match=r"status of reloads: No such file"):
        read_status(pid_file)
    os.mkfifo(status_file(pid_file))
    with pytest.raises(StatusError, match="has no status of reloads"):
        read_status(pid_file)


def test_where_none_can_be_written_nothing_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ReloadStatus().shown_beside(str(tmp_path / "none" / "x.pid")):
        assert "`trio-lb reload --wait` will not work" in caplog.text
