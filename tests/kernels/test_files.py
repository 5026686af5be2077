"""Counting new files."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from kernel_exec.kernels.files import NewFiles, counts_files, places


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Every file system's counts, to be changed."""
    counts = SimpleNamespace(f_files=1_000, f_ffree=900, f_favail=900)
    monkeypatch.setattr(os, "statvfs", lambda path: counts, raising=False)
    return counts


def test_new_files_are_counted_against_half_of_the_room_or_the_limit(
    tmp_path: Path, used: SimpleNamespace
) -> None:
    half, ten = NewFiles([tmp_path], None), NewFiles([tmp_path, tmp_path], 10)
    used.f_ffree -= 20
    assert (half.most(), ten.most()) == ((20, 450), (20, 10))
    ten.restart()
    assert ten.most()[0] == 0


def test_a_file_system_that_gets_smaller_has_no_new_files(tmp_path: Path, used: SimpleNamespace) -> None:
    files = NewFiles([tmp_path], 10)
    used.f_files, used.f_ffree = 500, 400
    assert files.most()[0] == 0


def test_without_a_count_nothing_is_limited(tmp_path: Path, used: SimpleNamespace) -> None:
    assert counts_files(tmp_path)
    used.f_files = used.f_ffree = 0
    assert not counts_files(tmp_path)
    files = NewFiles([tmp_path, tmp_path / "missing", *places([], 0)], 10)
    new, limit = files.most()
    assert new <= limit
