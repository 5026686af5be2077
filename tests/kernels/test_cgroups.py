"""Where groups are made, and what is written there: on a copy of the files, as both versions show them."""

from pathlib import Path

import pytest

from kernel_exec.kernels.cgroups import ControlGroups, Hierarchy, find_hierarchies

V2 = frozenset({"memory", "pids", "cpu"})


def group(path: Path, controllers: str = "memory pids cpu", enabled: str = "") -> Path:
    path.mkdir(parents=True)
    (path / "cgroup.procs").touch()
    (path / "cgroup.controllers").write_text(controllers)
    (path / "cgroup.subtree_control").write_text(enabled)
    return path


def tables(tmp_path: Path, mounts: str, own: str) -> tuple[Path, Path]:
    (tmp_path / "mounts").write_text(mounts)
    (tmp_path / "own").write_text(own)
    return tmp_path / "mounts", tmp_path / "own"


def test_version_2_is_used_at_the_nearest_group_that_can_be_written_to(tmp_path: Path) -> None:
    top = tmp_path / "fs"
    manager = group(top / "user.slice" / "user@1.service", enabled="memory pids cpu")
    group(manager / "app.scope", controllers="")
    mounts = f"30 23 0:26 / {top} rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
    found = find_hierarchies(*tables(tmp_path, mounts, "0::/user.slice/user@1.service/app.scope\n"))
    assert found == [Hierarchy(2, manager, V2)]


def test_a_container_that_sees_only_its_own_part_of_the_tree_finds_it(tmp_path: Path) -> None:
    top = group(tmp_path / "fs")
    (top / "memory.limit_in_bytes").touch()
    mounts = f"30 23 0:26 /docker/abc {top} rw - cgroup cgroup rw,memory\n"
    found = find_hierarchies(*tables(tmp_path, mounts, "4:memory:/docker/abc\n"))
    assert found == [Hierarchy(1, top, frozenset({"memory"}))]


def test_where_nothing_is_known_there_are_no_groups(tmp_path: Path) -> None:
    assert find_hierarchies(tmp_path / "none", tmp_path / "none") == []
    groups = ControlGroups("s", 1 << 30, [])
    assert groups.create("k1", memory_bytes=1 << 29, processes=64, cpu_cores=None) is None
    assert groups.mechanism("memory") == ""


def test_limits_of_version_2_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Path.mkdir

    def mkdir(path: Path, *args: int) -> None:  # as the system does, with files in it
        make(path, *args)
        (path / "cgroup.subtree_control").touch()
        (path / "memory.swap.max").touch()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    groups = ControlGroups("s", 1 << 30, [Hierarchy(2, tmp_path, V2)])
    assert (tmp_path / "kernel-exec-s" / "memory.max").read_text() == str(1 << 30)
    assert (tmp_path / "kernel-exec-s" / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    made = groups.create("k1", memory_bytes=1 << 29, processes=64, cpu_cores=1.5)
    assert made is not None
    assert made.controllers == V2
    directory = tmp_path / "kernel-exec-s" / "k1"
    written = {path.name: path.read_text() for path in directory.iterdir()}
    assert written["memory.max"] == str(1 << 29)
    assert (written["memory.swap.max"], written["pids.max"]) == ("0", "64")
    assert written["cpu.max"] == "150000 100000"
    (directory / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (directory / "memory.peak").write_text("4096\n")
    (directory / "cgroup.procs").write_text("7\n8\n0\n")
    assert (made.memory_kills(), made.memory_peak_bytes(), made.pids()) == (2, 4096, [7, 8])
