"""What a kernel may use, and what enforces it on this machine."""

import asyncio
import math
import os
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import structlog

from kernel_exec.kernels.cgroups import ControlGroups, Group, find_hierarchies
from kernel_exec.kernels.files import NewFiles, counts_files, places
from kernel_exec.kernels.scopes import Scopes, find_scopes
from kernel_exec.processes import tree_of
from kernel_exec.settings import Settings

__all__ = ["NOT_ENFORCED", "Enforced", "Guard", "Limiter", "Limits", "limit_lines", "size"]

log = structlog.get_logger(__name__)

NOT_ENFORCED = "not enforced here"
WATCHDOG = "watchdog"
# Of the limit's peak; a group that was killed well below its own limit was killed at the server's.
NEARLY = 0.97
UNSET = {
    "cpu_limit_cores": "all",
    "disk_limit_bytes": "half of what is free",
    "files_limit": "half of what is free",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one kernel with all that it starts; *processes* counts threads too, *cpu_cores* None is all."""

    memory_bytes: int
    processes: int
    cpu_cores: float | None
    open_files: int
    file_size_bytes: int
    disk_bytes: int | None
    files: int | None

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """As the settings say; what they leave open depends on the machine."""
        return cls(
            memory_bytes=min(
                settings.memory_limit_bytes or psutil.virtual_memory().total // 2, total_memory(settings)
            ),
            processes=settings.processes_limit,
            cpu_cores=settings.cpu_limit_cores,
            open_files=settings.open_files_limit,
            file_size_bytes=settings.file_size_limit_bytes,
            disk_bytes=settings.disk_limit_bytes,
            files=settings.files_limit,
        )


@dataclass(frozen=True, slots=True)
class Enforced:
    """A limit, where it is fixed, and *by* what it is enforced, or `not enforced here`."""

    value: float | None
    by: str


def total_memory(settings: Settings) -> int:
    """What all kernels of a server may have together, in bytes."""
    total: int = psutil.virtual_memory().total
    return settings.total_memory_limit_bytes or total * 4 // 5


class Guard:
    """The limits of one kernel while it lives.

    *group* is None where there are no control groups, or the kernel is in a container, whose engine
    enforces (*engine*). What nothing else enforces is watched: *interrupted_at* and *killed_at* say at which
    limit the watchdog did so, the former since the last execution began. *writable* are paths on the
    file systems whose files are counted, besides its /tmp and /dev/shm.
    """

    def __init__(
        self,
        limits: Limits,
        group: Group | None = None,
        *,
        engine: str = "",
        writable: Sequence[Path] = (),
    ) -> None:
        self.limits = limits
        self.group = group
        self.engine = engine
        self.interrupted_at = ""
        self.killed_at = ""
        self.written_before = 0
        self.disk_bytes = limits.disk_bytes
        self.new_files: NewFiles | None = None
        self._writable = writable
        self._kills = 0

    def watches(self, controller: str) -> bool:
        """Whether the watchdog has to enforce this one."""
        return not self.engine and (self.group is None or controller not in self.group.controllers)

    def begin(self, directory: Path, written_bytes: int, pid: int | None) -> None:
        """An execution of the kernel *pid* begins, which may write so much more than *written_bytes*."""
        self.interrupted_at = ""
        self.written_before = written_bytes
        self.children_killed()
        if self.limits.disk_bytes is None:
            with suppress(OSError):
                self.disk_bytes = psutil.disk_usage(str(directory)).free // 2
        writable = (directory, Path(tempfile.gettempdir()), *self._writable)
        self.new_files = NewFiles(places(writable, pid), self.limits.files)

    def children_killed(self) -> int:
        """How many processes the system has killed for lack of memory since the last question."""
        before, self._kills = self._kills, self.group.memory_kills() if self.group is not None else 0
        return self._kills - before

    def why_killed(self) -> str:
        """What its death by SIGKILL was about, as far as a limit was: `its memory limit 2.0 GiB (…)`."""
        if self.killed_at:
            return self.killed_at
        if self.group is None or not self.group.memory_kills():
            return ""
        peak = self.group.memory_peak_bytes() or 0
        if peak < self.limits.memory_bytes * NEARLY:
            return f"the memory limit of all sessions together (it had {size(peak)})"
        return f"its memory limit {size(self.limits.memory_bytes)} (peak {size(peak)})"


class Limiter:
    """Puts limits on kernels, by the strongest means that this machine has; they are found once."""

    def __init__(self, settings: Settings, server: str) -> None:
        self._settings = settings
        self._server = server
        self._groups: ControlGroups | Scopes | None = None
        self._finding = threading.Lock()

    @property
    def groups(self) -> ControlGroups | Scopes:
        """The control groups of this server; made at the first question, which may take a moment."""
        with self._finding:
            if self._groups is None:
                total = total_memory(self._settings)
                hierarchies = find_hierarchies() if sys.platform == "linux" else []
                limited = any("memory" in one.controllers for one in hierarchies)
                scopes = None if limited else find_scopes(self._server, total)
                self._groups = scopes or ControlGroups(self._server, total, hierarchies)
            return self._groups

    def guard(self, name: str, limits: Limits, *, engine: str = "", writable: Sequence[Path] = ()) -> Guard:
        """The limits for the kernel *name*; see `enforce`."""
        if engine:
            return Guard(limits, engine=engine, writable=writable)
        try:
            group = self.groups.create(
                name,
                memory_bytes=limits.memory_bytes,
                processes=limits.processes,
                cpu_cores=limits.cpu_cores,
            )
        except OSError as error:
            log.warning("no control group", kernel=name, error=str(error))
            group = None
        return Guard(limits, group, writable=writable)

    def inside(self, guard: Guard) -> dict[str, int]:
        """What the kernel takes on itself; see `inside.limited`."""
        limits = guard.limits
        cpus = math.ceil(limits.cpu_cores) if limits.cpu_cores and guard.watches("cpu") else 0
        return {
            "open_files": limits.open_files,
            "file_size": limits.file_size_bytes,
            "memory": limits.memory_bytes,
            "cpus": cpus,
        }

    async def enforce(self, guard: Guard, pid: int | None, marker: tuple[str, str]) -> None:
        """Move the kernel that has just been started into its group, with all that it started so far.

        Where that fails, the watchdog takes over.
        """
        if pid is not None and guard.group is not None:
            try:
                await self._move(guard.group, pid, marker)
            except OSError as error:
                log.warning("no control group", kernel=marker[1], error=str(error))
                guard.group = None

    @staticmethod
    async def _move(group: Group, pid: int, marker: tuple[str, str]) -> None:
        moved: set[int] = set()
        while (
            new := {process.pid for process in await asyncio.to_thread(tree_of, pid, marker=marker)} - moved
        ):
            for one in new:
                with suppress(ProcessLookupError):
                    await asyncio.to_thread(group.add, one)
            moved |= new

    async def release(self, guard: Guard) -> None:
        """Kill what is left of the kernel, also what hid from its tree, and remove its group."""
        if guard.group is not None:
            await asyncio.to_thread(guard.group.remove)

    def enforced(self) -> dict[str, Enforced]:
        """What a session may use by the server's settings, and what enforces it here, outside containers."""
        limits, groups = Limits.of(self._settings), self.groups
        by_process = NOT_ENFORCED if sys.platform == "win32" else "rlimit"
        affinity = "CPU affinity" if hasattr(os, "sched_setaffinity") else NOT_ENFORCED
        disk = WATCHDOG if hasattr(psutil.Process, "io_counters") else NOT_ENFORCED
        files = WATCHDOG if counts_files(self._settings.workspace) else NOT_ENFORCED
        memory = groups.mechanism("memory") or WATCHDOG
        total = total_memory(self._settings)
        return {
            "memory_limit_bytes": Enforced(limits.memory_bytes, memory),
            "total_memory_limit_bytes": Enforced(total, memory),
            "processes_limit": Enforced(limits.processes, groups.mechanism("pids") or WATCHDOG),
            "cpu_limit_cores": Enforced(limits.cpu_cores, groups.mechanism("cpu") or affinity),
            "open_files_limit": Enforced(limits.open_files, by_process),
            "file_size_limit_bytes": Enforced(limits.file_size_bytes, by_process),
            "disk_limit_bytes": Enforced(limits.disk_bytes, disk),
            "files_limit": Enforced(limits.files, files),
        }

    def close(self) -> None:
        """Remove the groups."""
        if self._groups is not None:
            self._groups.close()

    @staticmethod
    def sweep(server: str) -> None:
        """Kill and remove what a server that was killed has left in its groups."""
        if sys.platform == "linux":
            ControlGroups.sweep(server, find_hierarchies())
            Scopes.sweep(server)


def limit_lines(limits: Mapping[str, Enforced]) -> list[str]:
    """Limits for people, as `memory 2.0 GiB (cgroup v2)`."""
    lines = []
    for name, limit in limits.items():
        amount = f"{limit.value:g}" if limit.value else UNSET.get(name, "")
        if name.endswith("_bytes") and limit.value:
            amount = size(int(limit.value))
        label = name.replace("_limit", "").removesuffix("_bytes").replace("_", " ")
        lines.append(" ".join(filter(None, (label, amount, f"({limit.by})"))))
    return lines


def size(count: int) -> str:
    """A size for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 1 << 30 else f"{count / 2**20:.0f} MiB"
