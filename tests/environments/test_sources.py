import json
from pathlib import Path

import pytest

from kernel_exec.environments.sources import Wanted, read
from kernel_exec.errors import InvalidInput, InvalidRequirement, PathNotAllowed


def test_a_requirements_file_is_read_with_comments_continuations_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "requirements.txt").write_text(
        "# ours\npandas>=2  # tables\n\nhttpx[http2] \\\n  ==0.27.*\n-r sub/more.txt\n./local\n"
    )
    (tmp_path / "sub" / "more.txt").write_text("six\n./near\n")
    assert read("requirements.txt", tmp_path) == Wanted(
        ("pandas>=2", "httpx[http2]    ==0.27.*", "six", f"{tmp_path}/sub/near", f"{tmp_path}/local")
    )


@pytest.mark.parametrize(
    "line", ["--index-url https://example.org", "-e .", "six==1 --hash=sha256:00", "-c c.txt"]
)
def test_options_in_a_requirements_file_are_refused_with_their_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"six\n{line}\n")
    with pytest.raises(InvalidRequirement, match="line 2") as refused:
        read("requirements.txt", tmp_path)
    assert "example.org" not in str(refused.value)


def test_files_that_lead_to_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n")
    with pytest.raises(InvalidInput, match="deep"):
        read("a.txt", tmp_path)


def test_a_project_gives_its_dependencies_and_its_python(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nrequires-python = ">=3.12"\ndependencies = ["pandas", "six>1"]\n'
    )
    assert read("pyproject.toml", tmp_path) == Wanted(("pandas", "six>1"), ">=3.12")


def test_a_notebook_gives_the_versions_it_was_run_with(tmp_path: Path) -> None:
    told = {"python": "3.12.1", "requirements": ["six==1.17.0"]}
    (tmp_path / "a.ipynb").write_text(json.dumps({"metadata": {"kernel_exec": told}, "cells": []}))
    assert read("a.ipynb", tmp_path) == Wanted(("six==1.17.0",), "==3.12.*")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.toml", b"[tool]\n"),
        ("a.toml", b"not toml"),
        ("a.toml", b"project = 3\n"),
        ("a.ipynb", b"{}"),
        ("a.ipynb", b"[]"),
        ("a.ipynb", b"\xff\xfe"),
        ("a.txt", b"\xff\xfe\x00"),
    ],
)
def test_a_file_of_another_kind_is_refused_and_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=name):
        read(name, tmp_path)


@pytest.mark.parametrize("place", ["../x.txt", "/etc/passwd", "missing.txt"])
def test_only_files_in_the_workspace_are_read(tmp_path: Path, place: str) -> None:
    with pytest.raises(PathNotAllowed):
        read(place, tmp_path)


def test_a_nested_file_outside_the_workspace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-r /etc/passwd\n")
    with pytest.raises(PathNotAllowed):
        read("requirements.txt", tmp_path)
