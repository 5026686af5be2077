from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kernel_exec.environments.environment import Environment, Package, changes_between
from kernel_exec.environments.files import write_whole
from kernel_exec.environments.store import Store
from kernel_exec.environments.trees import exchange, linked_copy, size_bytes
from kernel_exec.errors import EnvironmentExists, EnvironmentNotFound, InvalidName


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.prepare()
    return store


def commit(store: Store, name: str, **how: object) -> Environment:
    """An environment of files only, as far as the store can tell whole."""
    staging = store.directory / f".{name}.0badcafe.new"
    (staging / "bin").mkdir(parents=True)
    (staging / "bin" / "python").symlink_to("/bin/sh")
    environment = Environment(
        name=name,
        path=store.path(name),
        python="3.12.1",
        description="Für Ünïcode 🐍",
        created=datetime.now(UTC),
        requirements=("six>=1", "attrs"),
        source="created",
        base_python=Path("/usr/bin/python3"),
    )
    environment = replace(environment, **how)
    store.commit(environment, staging)
    return environment


def test_what_is_committed_is_read_back(store: Store) -> None:
    environment = commit(store, "lab")
    assert store.read("lab") == environment
    assert store.names() == ["lab"]
    assert store.leftovers() == set()


def test_an_unknown_name_lists_the_known_ones(store: Store) -> None:
    commit(store, "lab")
    with pytest.raises(EnvironmentNotFound, match="'lab'"):
        store.read("other")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "con", "x" * 65, "-x", "ä"])
def test_a_name_that_could_be_a_path_or_option_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InvalidName):
        store.read(name)


def test_names_that_differ_only_in_case_are_one(store: Store) -> None:
    commit(store, "lab")
    with pytest.raises(EnvironmentExists):
        store.refuse_existing("LAB")


@pytest.mark.parametrize(
    "missing", ["environments/lab", "environments/lab/bin/python", "jupyter/kernels/lab"]
)
def test_an_environment_that_lost_a_part_is_marked_with_what_is_gone(store: Store, missing: str) -> None:
    commit(store, "lab")
    path = store.home / missing
    path.rename(store.home / "elsewhere")
    assert "is gone" in store.read("lab").broken
    assert store.names() == ["lab"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"source": "created"}', '{"source": "stolen"}', "\0"])
def test_a_record_that_cannot_be_read_marks_the_environment_as_broken(store: Store, text: str) -> None:
    commit(store, "lab")
    (store.directory / "lab.json").write_text(text)
    assert "cannot be read" in store.read("lab").broken


def test_a_creation_cut_off_at_any_point_leaves_nothing_that_looks_whole(store: Store) -> None:
    commit(store, "lab")
    record = store.directory / "lab.json"
    record.rename(store.directory / ".lab.json.0badcafe.tmp")  # all but the last step
    (store.directory / ".lab.12345678.new").mkdir()
    (store.directory / ".lab.holder.12345678.tmp").touch()
    assert store.names() == []
    assert store.leftovers() == {"lab"}
    store.sweep("lab")
    assert store.leftovers() == set()
    assert list(store.directory.iterdir()) == []
    assert not (store.home / "jupyter" / "kernels" / "lab").exists()


def test_an_exchange_cut_off_half_way_is_undone(store: Store) -> None:
    environment = commit(store, "lab")
    environment.path.rename(store.directory / ".lab.12345678.old")
    (store.directory / ".lab.87654321.new").mkdir()
    assert store.read("lab").broken
    store.sweep("lab")
    assert store.read("lab") == environment


def test_a_kernelspec_of_somebody_else_is_left_alone(store: Store) -> None:
    file = store.home / "jupyter" / "kernels" / "julia" / "kernel.json"
    write_whole(file, '{"argv": ["julia"], "metadata": {}}')
    assert store.leftovers() == set()


def test_forgetting_leaves_nothing(store: Store) -> None:
    commit(store, "lab")
    store.forget("lab")
    assert list(store.directory.iterdir()) == []
    assert store.names() == []


def test_the_requirements_in_the_venv_win_over_the_record(store: Store) -> None:
    environment = commit(store, "lab")
    (environment.path / "kernel-exec-requirements.txt").write_text("pandas\n")
    assert store.read("lab").requirements == ("pandas",)


def test_a_linked_copy_shares_files_keeps_links_and_costs_no_disk(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_bytes(b"x" * 100_000)
    (source / "link").symlink_to("deep/file")
    linked_copy(source, copy)
    assert (copy / "deep" / "file").samefile(source / "deep" / "file")
    assert (copy / "link").readlink() == Path("deep/file")
    assert size_bytes(tmp_path) - size_bytes(source) < 100_000


def test_an_exchange_swaps_two_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    new.mkdir()
    old.mkdir()
    (new / "is-new").touch()
    exchange(new, old)
    assert (old / "is-new").exists()
    monkeypatch.setattr("kernel_exec.environments.trees._exchanged", lambda *_: False)
    exchange(new, old)  # in three steps
    assert (new / "is-new").exists()


def test_changes_tell_old_and_new_versions_in_order_of_name() -> None:
    before = {"a": Package("A", "1"), "b": Package("b", "1"), "c": Package("c", "1")}
    after = {"a": Package("A", "2"), "c": Package("c", "1"), "d": Package("d", "1")}
    told = [(change.name, change.old, change.new) for change in changes_between(before, after)]
    assert told == [("A", "1", "2"), ("b", "1", None), ("d", None, "1")]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / ".lab.holder"
    write_whole(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "new \ud800")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
