"""What a kernel's processes use."""

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from kernel_exec.processes import tree_of

__all__ = ["Meter", "Spent", "Usage", "measure", "measure_tree", "memory_of"]

RESET_PEAK = "5"  # https://docs.kernel.org/filesystems/proc.html, clear_refs


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a kernel and all its children, *at* a moment of `time.monotonic()`.

    *memory_bytes* is PSS where there are several processes and the system has it, else RSS, which
    *own_memory_bytes* is of the kernel's process alone. CPU seconds (user and system; *system_seconds* is
    the latter alone) and the bytes read
    from and written to disks count since the kernel started, with children that have ended.
    """

    at: float
    memory_bytes: int
    own_memory_bytes: int
    cpu_seconds: float
    system_seconds: float
    processes: int
    threads: int
    read_bytes: int
    written_bytes: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What one execution took; None where the system does not tell."""

    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None


def memory_of(pid: int) -> int | None:
    """The resident memory of one process in bytes; None when it is gone. Takes microseconds."""
    try:
        rss: int = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return None
    return rss


def measure_tree(pid: int, marker: tuple[str, str]) -> Usage:
    """Measure the whole tree, after looking for it; takes milliseconds, so call it in a thread."""
    return measure(tree_of(pid, marker=marker), pid)


def measure(processes: Iterable[psutil.Process], main: int | None) -> Usage:
    """Measure these *processes*, of which *main* is the kernel's own."""
    alive: list[psutil.Process] = []
    memory, own, cpu, system, threads, read, written = 0, 0, 0.0, 0.0, 0, 0, 0
    for process in processes:
        try:
            with process.oneshot():
                rss = process.memory_info().rss
                times = process.cpu_times()
                threads += process.num_threads()
        except psutil.Error:
            continue
        cpu += sum(times[:4])  # its own, user and system, and the same of children that have ended
        system += sum(times[1:4:2])
        disk = _disk(process)
        read, written = read + disk[0], written + disk[1]
        memory += rss
        own = rss if process.pid == main else own
        alive.append(process)
    if len(alive) > 1:  # what they share would count several times
        memory = sum(map(_proportional, alive))
    return Usage(time.monotonic(), memory, own, cpu, system, len(alive), threads, read, written)


class Meter:
    """Measures one execution by the kernel's own process and by the children it waited for; made when
    the execution begins. Each end takes well under a millisecond.
    """

    def __init__(self, pid: int | None) -> None:
        self._process: psutil.Process | None = None
        self._cpu, self._read, self._written = 0.0, 0, 0
        with suppress(psutil.Error):
            self._process = psutil.Process(pid) if pid is not None else None
        if self._process is not None:
            with suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)
            self._cpu, self._read, self._written = self._counters()

    @property
    def written_bytes(self) -> int:
        """What the kernel's own process had written to disks when the execution began."""
        return self._written

    def stop(self, sampled_peak_bytes: int = 0) -> Spent:
        """What it took so far; *sampled_peak_bytes* is the most that was seen of the whole tree."""
        if self._process is None:
            return Spent(peak_memory_bytes=sampled_peak_bytes or None)
        try:
            cpu, read, written = self._counters()
            peak = max(_peak(self._process), sampled_peak_bytes)
        except psutil.Error:  # it has ended
            return Spent(peak_memory_bytes=sampled_peak_bytes or None)
        return Spent(round(cpu - self._cpu, 3), peak or None, read - self._read, written - self._written)

    def _counters(self) -> tuple[float, int, int]:
        assert self._process is not None
        return (sum(self._process.cpu_times()[:4]), *_disk(self._process))


def _disk(process: psutil.Process) -> tuple[int, int]:
    try:
        counters = process.io_counters()
    except (psutil.Error, OSError, AttributeError):  # macOS has none
        return 0, 0
    return counters.read_bytes, counters.write_bytes


def _proportional(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
    except psutil.Error:
        return 0
    value: int = getattr(full, "pss", full.rss)
    return value


def _peak(process: psutil.Process) -> int:
    """The most resident memory since it was reset (Linux), or what there is now."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    rss: int = process.memory_info().rss
    return rss
