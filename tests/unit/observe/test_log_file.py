"""Appending to files that fill up, are moved away, or vanish."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import resource
import shutil
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from trio_lb.observe.log_file import AppendFailed, Condition, LogFile, write_some

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    file = LogFile(str(tmp_path / "dir" / "log"))
    (tmp_path / "dir").mkdir()
    yield file
    file.close()


def test_lines_are_appended(file: LogFile, tmp_path: Path) -> None:
    log = tmp_path / "dir" / "log"
    log.write_bytes(b"old\n")
    file.append(b"a\nb\n")
    file.append(b"c\n")
    assert log.read_bytes() == b"old\na\nb\nc\n"


def test_appending_nothing_creates_the_file(file: LogFile, tmp_path: Path) -> None:
    file.append(b"")
    assert (tmp_path / "dir" / "log").read_bytes() == b""


def test_a_rotated_file_is_left_and_a_new_one_begun(file: LogFile, tmp_path: Path) -> None:
    log = tmp_path / "dir" / "log"
    file.append(b"a\n")
    log.rename(log.with_suffix(".1"))
    file.append(b"b\n")
    log.unlink()
    file.append(b"c\n")
    assert (log.with_suffix(".1").read_bytes(), log.read_bytes()) == (b"a\n", b"c\n")


def test_a_truncated_file_is_continued_at_its_new_end(file: LogFile, tmp_path: Path) -> None:
    log = tmp_path / "dir" / "log"
    file.append(b"a\n")
    os.truncate(log, 0)
    file.append(b"b\n")
    assert log.read_bytes() == b"b\n"


def test_a_vanished_directory_fails_until_it_is_back(file: LogFile, tmp_path: Path) -> None:
    file.append(b"a\n")
    shutil.rmtree(tmp_path / "dir")
    with pytest.raises(AppendFailed, match="No such file or directory") as caught:
        file.append(b"b\nc\n")
    assert caught.value.lost_lines == 2
    (tmp_path / "dir").mkdir()
    file.append(b"d\n")
    assert (tmp_path / "dir" / "log").read_bytes() == b"d\n"


def test_several_may_append_to_one_pipe_and_every_line_stays_whole() -> None:
    reading, writing = os.pipe()
    read: Counter[bytes] = Counter()
    lines = {name: f"{name} {name * 150}\n".encode() for name in "abc"}

    def append(name: str) -> None:
        file = LogFile(f"/dev/fd/{writing}")
        for _ in range(10):
            file.append(lines[name] * 1000)
        file.close()

    with open(reading, "rb") as pipe:
        threads = [threading.Thread(target=append, args=(name,)) for name in lines]
        reader = threading.Thread(target=read.update, args=(pipe,))
        for thread in (*threads, reader):
            thread.start()
        for thread in threads:
            thread.join()
        os.close(writing)
        reader.join()
    assert read == dict.fromkeys(lines.values(), 10_000)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/dev/full", "No space left on device"),
        ("/", "Is a directory"),
        ("nul\0", "embedded null"),
    ],
)
def test_what_cannot_be_written_fails(path: str, why: str) -> None:
    file = LogFile(path)
    with pytest.raises(AppendFailed, match=why) as caught:
        file.append(b"a\nb\n")
    assert caught.value.lost_lines == 2


@contextlib.contextmanager
def ten_bytes_of_disk() -> Iterator[None]:
    """Files hold ten bytes. Only around the call in question: pytest's own output is a file too."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def lost_when_full(file: LogFile, lines: bytes) -> int:
    with ten_bytes_of_disk(), pytest.raises(AppendFailed) as caught:
        file.append(lines)
    return caught.value.lost_lines


def test_a_line_torn_by_a_full_disk_does_not_spoil_the_next(file: LogFile, tmp_path: Path) -> None:
    log = tmp_path / "dir" / "log"
    assert lost_when_full(file, b"1234\n6789\nlost\n") == 1
    os.truncate(log, 8)  # space again; the last line is torn now
    assert lost_when_full(file, b"ab\ncd\n") == 2
    assert log.read_bytes() == b"1234\n678ab"
    assert lost_when_full(file, b"ef\n") == 1
    os.truncate(log, 5)
    with ten_bytes_of_disk():
        file.append(b"ef\n")
    assert log.read_bytes() == b"1234\n\nef\n"


def test_dash_is_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    file = LogFile("-")
    file.append(b"a\n")
    file.append(b"b\n")
    file.close()
    assert capfd.readouterr().out == "a\nb\n"


@pytest.mark.parametrize("how", ["closed", "missing"])
def test_standard_output_may_be_missing(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO() if how == "closed" else None
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "__stdout__", stream)
    with pytest.raises(AppendFailed) as caught:
        LogFile("-").append(b"a\n")
    assert caught.value.lost_lines == 1


def test_a_non_blocking_pipe_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(65536))
    reader = threading.Timer(0.05, os.read, (reading, 65536))
    reader.start()
    assert write_some(writing, b"x") == 1
    reader.join()
    os.close(reading)
    os.close(writing)


def test_each_change_of_condition_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    condition = Condition(logging.getLogger("test"), "log")
    condition.worked()
    condition.failed("full")
    condition.failed("gone")
    condition.worked()
    condition.worked()
    condition.failed("gone")
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "cannot write the log: full"),
        ("INFO", "can write the log again"),
        ("WARNING", "cannot write the log: gone"),
    ]
