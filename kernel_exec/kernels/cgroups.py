"""Control groups, where this process may make some: the system itself then enforces limits.

https://docs.kernel.org/admin-guide/cgroup-v2.html and …/cgroup-v1/
"""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = [
    "CONTROLLERS",
    "PERIOD_MICROSECONDS",
    "ControlGroups",
    "Group",
    "Hierarchy",
    "find_hierarchies",
]

PREFIX = "kernel-exec-"
CONTROLLERS = ("memory", "pids", "cpu")
PERIOD_MICROSECONDS = 100_000
MOUNTS = Path("/proc/self/mountinfo")
OWN = Path("/proc/self/cgroup")
REMOVE_SECONDS = 2.0

# What is written for a limit, and where; files that an older system lacks are left out.
FILES = {
    2: {
        "memory": (("memory.max", "{bytes}"), ("memory.swap.max", "0")),
        "pids": (("pids.max", "{count}"),),
        "cpu": (("cpu.max", "{quota} {period}"),),
    },
    1: {
        "memory": (("memory.limit_in_bytes", "{bytes}"), ("memory.memsw.limit_in_bytes", "{bytes}")),
        "pids": (("pids.max", "{count}"),),
        "cpu": (("cpu.cfs_period_us", "{period}"), ("cpu.cfs_quota_us", "{quota}")),
    },
}


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A *directory* in which groups can be made that have these *controllers*."""

    version: int
    directory: Path
    controllers: frozenset[str]

    def write(self, group: Path, controller: str, **values: object) -> None:
        """Set a limit of a group: `bytes`, `count`, or `quota` and `period`. Raises: OSError."""
        first, *others = FILES[self.version][controller]
        (group / first[0]).write_text(first[1].format(**values))
        for name, value in others:
            if (group / name).exists():
                (group / name).write_text(value.format(**values))


class Group:
    """The processes of one kernel, in one directory per hierarchy."""

    def __init__(self, directories: Mapping[Hierarchy, Path]) -> None:
        self._directories = dict(directories)
        self.controllers = frozenset[str]().union(*(one.controllers for one in directories))

    def add(self, pid: int) -> None:
        """Move a process in; what it starts from now on is born here. Raises: OSError."""
        for directory in self._directories.values():
            (directory / "cgroup.procs").write_text(str(pid))

    def pids(self) -> list[int]:
        """All processes in it, whatever they did to leave the tree."""
        found: set[int] = set()
        for directory in self._directories.values():
            with suppress(OSError):
                found.update(map(int, (directory / "cgroup.procs").read_text().split()))
        return sorted(found - {0})  # 0: in a pid namespace that is not inside ours

    @property
    def _memory(self) -> Path | None:
        found = (path for one, path in self._directories.items() if "memory" in one.controllers)
        return next(found, None)

    def memory_kills(self) -> int:
        """How many of its processes the system has killed for lack of memory."""
        for name in ("memory.events", "memory.oom_control"):
            if value := self._field(name, "oom_kill"):
                return value
        return 0

    def memory_peak_bytes(self) -> int | None:
        """The most memory it ever had, with the cache of its files."""
        for name in ("memory.peak", "memory.max_usage_in_bytes"):
            if (memory := self._memory) is not None:
                with suppress(OSError, ValueError):
                    return int((memory / name).read_text())
        return None

    def remove(self) -> None:
        """Kill what is left in it, then remove it."""
        deadline = time.monotonic() + REMOVE_SECONDS
        for directory in self._directories.values():
            _remove(directory, deadline)

    def _field(self, name: str, field: str) -> int:
        memory = self._memory
        if memory is None:
            return 0
        try:
            lines = (memory / name).read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{field} ")), 0)


class ControlGroups:
    """The groups of one *server*, in a group of their own that has *total_memory_bytes*."""

    def __init__(self, server: str, total_memory_bytes: int, hierarchies: list[Hierarchy]) -> None:
        self._parents: dict[Hierarchy, Path] = {}
        for hierarchy in hierarchies:
            parent = hierarchy.directory / f"{PREFIX}{server}"
            _tidy(hierarchy.directory)
            try:
                parent.mkdir()
                if hierarchy.version == 2:
                    _hand_down(parent, hierarchy.controllers)
                if "memory" in hierarchy.controllers:
                    hierarchy.write(parent, "memory", bytes=total_memory_bytes)
            except OSError:
                with suppress(OSError):
                    parent.rmdir()
            else:
                self._parents[hierarchy] = parent

    def mechanism(self, controller: str) -> str:
        """What enforces a limit: `cgroup v1`, `cgroup v2`, or nothing."""
        found = (f"cgroup v{one.version}" for one in self._parents if controller in one.controllers)
        return next(found, "")

    def create(
        self, name: str, *, memory_bytes: int, processes: int, cpu_cores: float | None
    ) -> Group | None:
        """A new group, empty; None where there is no hierarchy. Raises: OSError."""
        made: dict[Hierarchy, Path] = {}
        for hierarchy, parent in self._parents.items():
            made[hierarchy] = group = parent / name
            group.mkdir()
            if "memory" in hierarchy.controllers:
                hierarchy.write(group, "memory", bytes=memory_bytes)
            if "pids" in hierarchy.controllers:
                hierarchy.write(group, "pids", count=processes)
            if "cpu" in hierarchy.controllers and cpu_cores is not None:
                quota = max(1_000, int(cpu_cores * PERIOD_MICROSECONDS))
                hierarchy.write(group, "cpu", quota=quota, period=PERIOD_MICROSECONDS)
        return Group(made) if made else None

    def close(self) -> None:
        """Remove the parents, with what is left in them."""
        for parent in self._parents.values():
            _sweep(parent)
        self._parents = {}

    @staticmethod
    def sweep(server: str, hierarchies: list[Hierarchy]) -> None:
        """Kill and remove what a server that was killed has left."""
        for hierarchy in hierarchies:
            _sweep(hierarchy.directory / f"{PREFIX}{server}")


def find_hierarchies(mounts: Path = MOUNTS, own: Path = OWN) -> list[Hierarchy]:
    """Where groups can be made: at our own group, or the nearest one above it that we may write to."""
    paths: dict[str, str] = {}  # of our own group, by controller; that of version 2 has no name
    try:
        for line in own.read_text().splitlines():
            _, names, path = line.split(":", 2)
            paths.update(dict.fromkeys(names.split(","), path))
        lines = mounts.read_text().splitlines()
    except OSError:
        return []
    found: list[Hierarchy] = []
    for line in lines:
        head, _, tail = line.partition(" - ")
        root, mount_point = head.split()[3:5]
        kind, _, options = tail.split(" ", 2)
        if kind == "cgroup2" and "" in paths:
            hierarchy = _version_2(Path(mount_point), _below(paths[""], root))
        elif kind == "cgroup" and (name := next((one for one in options.split(",") if one in paths), None)):
            hierarchy = _version_1(Path(mount_point) / _below(paths[name], root), options.split(","))
        else:
            continue
        if hierarchy is not None and not any(hierarchy.controllers & one.controllers for one in found):
            found.append(hierarchy)
    return found


def _below(path: str, root: str) -> str:
    """The path of a group below the mount point, which shows what is below *root*."""
    inside = path == root or path.startswith(root.rstrip("/") + "/")
    return path[len(root.rstrip("/")) :].lstrip("/") if inside else ""


def _version_1(directory: Path, options: list[str]) -> Hierarchy | None:
    controllers = frozenset(CONTROLLERS) & set(options)
    usable = controllers and os.access(directory, os.W_OK)
    return Hierarchy(1, directory, controllers) if usable else None


def _version_2(mount_point: Path, path: str) -> Hierarchy | None:
    """A process can be moved where both groups are below one whose `cgroup.procs` we may write; and a
    group that has processes of its own, as ours, cannot hand controllers down.
    """
    directory = mount_point / path
    while directory.is_relative_to(mount_point):
        if os.access(directory, os.W_OK) and os.access(directory / "cgroup.procs", os.W_OK):
            with suppress(OSError):
                available = set((directory / "cgroup.controllers").read_text().split())
                if wanted := frozenset(CONTROLLERS) & available:
                    return Hierarchy(2, directory, _hand_down(directory, wanted))
        directory = directory.parent
    return None


def _hand_down(directory: Path, wanted: frozenset[str]) -> frozenset[str]:
    """Let the groups in *directory* have the controllers. Raises: OSError."""
    control = directory / "cgroup.subtree_control"
    if missing := wanted - set(control.read_text().split()):
        control.write_text(" ".join(f"+{name}" for name in sorted(missing)))
    return wanted


def _tidy(directory: Path) -> None:
    """Remove the empty groups of servers that were killed, whatever data directory they had."""
    for parent in directory.glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError):
            # The name begins with the server's process number; its last four characters are random.
            if not psutil.pid_exists(int(parent.name.removeprefix(PREFIX)[:-4], 16)):
                for path in (*filter(Path.is_dir, parent.iterdir()), parent):
                    path.rmdir()


def _sweep(parent: Path) -> None:
    deadline = time.monotonic() + REMOVE_SECONDS
    with suppress(OSError):
        for group in [path for path in parent.iterdir() if path.is_dir()]:
            _remove(group, deadline)
    _remove(parent, deadline)


def _remove(directory: Path, deadline: float) -> None:
    while True:
        try:
            directory.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                return
        else:
            return
        with suppress(OSError):
            for pid in map(int, (directory / "cgroup.procs").read_text().split()):
                if pid > 0:
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
