"""Scopes of the user's own systemd: where this process may make no control groups, that one may.

https://systemd.io/CONTROL_GROUP_INTERFACE and org.freedesktop.systemd1(5)
"""

import json
import time
from contextlib import suppress
from pathlib import Path

from kernel_exec.kernels.cgroups import CONTROLLERS, PERIOD_MICROSECONDS, Group, Hierarchy
from kernel_exec.processes import run_blocking

__all__ = ["Scopes", "find_scopes"]

SYSTEMD = "org.freedesktop.systemd1"
MANAGER = ("/org/freedesktop/systemd1", f"{SYSTEMD}.Manager")
MOUNT_POINT = Path("/sys/fs/cgroup")
CALL_SECONDS = 5.0
MOVE_SECONDS = 2.0
MICROSECONDS = 1_000_000

# A property of a unit: name, type as D-Bus writes it, values.
Property = tuple[str, ...]


class Scopes:
    """The scopes of one *server*, in a slice of their own that has *total_memory_bytes*."""

    def __init__(self, server: str, total_memory_bytes: int, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self._server = server
        self.slice = _slice(server)
        _start(self.slice, ("MemoryMax", "t", str(total_memory_bytes)), ("MemorySwapMax", "t", "0"))

    def mechanism(self, controller: str) -> str:
        """What enforces a limit: `systemd scope`, or nothing."""
        return "systemd scope" if controller in self.hierarchy.controllers else ""

    def create(self, name: str, *, memory_bytes: int, processes: int, cpu_cores: float | None) -> Group:
        """A new group; its scope begins with the first process that is added."""
        properties: list[Property] = [
            ("Slice", "s", self.slice),
            ("Delegate", "b", "true"),  # else no process could be added later
            ("MemoryMax", "t", str(memory_bytes)),
            ("MemorySwapMax", "t", "0"),
            ("TasksMax", "t", str(processes)),
        ]
        if cpu_cores is not None:
            quota = max(1_000, int(cpu_cores * PERIOD_MICROSECONDS)) * MICROSECONDS // PERIOD_MICROSECONDS
            properties.append(("CPUQuotaPerSecUSec", "t", str(quota)))
        return _Scope(f"kernel-exec-{self._server}-{name}.scope", properties, self.hierarchy)

    def close(self) -> None:
        """End the slice with all that is in it."""
        self.sweep(self._server)

    @staticmethod
    def sweep(server: str) -> None:
        """End the slice of a server that was killed."""
        with suppress(OSError):  # there is no systemd, or no such slice
            _call("StopUnit", "ss", _slice(server), "replace")


def find_scopes(server: str, total_memory_bytes: int) -> Scopes | None:
    """None where no systemd of this user answers, or where it may not limit memory."""
    try:
        own = MOUNT_POINT / _property(MANAGER[0], MANAGER[1], "ControlGroup").lstrip("/")
        controllers = frozenset(CONTROLLERS) & set((own / "cgroup.controllers").read_text().split())
        return (
            Scopes(server, total_memory_bytes, Hierarchy(2, own, controllers))
            if "memory" in controllers
            else None
        )
    except OSError:
        return None


class _Scope(Group):
    """A scope as a group: systemd makes the directory, so there is none before the first process."""

    def __init__(self, unit: str, properties: list[Property], hierarchy: Hierarchy) -> None:
        super().__init__({})
        self.controllers = hierarchy.controllers
        self._unit = unit
        self._properties = properties
        self._hierarchy = hierarchy

    def add(self, pid: int) -> None:
        """Move a process in. Raises: OSError."""
        if self._directories:
            _call("AttachProcessesToUnit", "ssau", self._unit, "", "1", str(pid))
            return
        _start(self._unit, ("PIDs", "au", "1", str(pid)), *self._properties)
        deadline = time.monotonic() + MOVE_SECONDS
        while (path := _group_of(pid)).name != self._unit:
            if time.monotonic() > deadline:
                raise TimeoutError(f"systemd did not move process {pid} into {self._unit}")
            time.sleep(0.005)
        self._directories[self._hierarchy] = MOUNT_POINT / str(path).lstrip("/")


def _slice(server: str) -> str:
    return f"kernelexec{server}.slice"  # a dash would make it part of another slice


def _group_of(pid: int) -> Path:
    """The group of a process in version 2. Raises: ProcessLookupError."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    return next((Path(line[3:]) for line in lines if line.startswith("0::")), Path("/"))


def _start(unit: str, *properties: Property) -> None:
    flat = [part for one in properties for part in one]
    _call("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", str(len(properties)), *flat, "0")


def _call(method: str, signature: str, *arguments: str) -> None:
    _busctl("call", SYSTEMD, *MANAGER, method, signature, *arguments)


def _property(path: str, interface: str, name: str) -> str:
    value: str = json.loads(_busctl("--json=short", "get-property", SYSTEMD, path, interface, name))["data"]
    return value


def _busctl(*arguments: str) -> str:
    """Raises: OSError."""
    done = run_blocking(["busctl", "--user", *arguments], timeout_seconds=CALL_SECONDS)
    if done.returncode != 0:
        raise OSError(f"systemd: {done.errors.strip()}")
    return done.output
