"""What a kernel's processes use."""

from dataclasses import dataclass

import psutil

from kernel_exec.processes import tree_of

__all__ = ["Usage", "measure", "memory_of"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a kernel and all its children: *memory_bytes* (PSS where the system has it, else RSS),
    *cpu_seconds* (user and system, since the kernel started) and the number of *processes*.
    """

    memory_bytes: int
    cpu_seconds: float
    processes: int


def memory_of(pid: int) -> int | None:
    """The resident memory of one process in bytes; None when it is gone. Takes microseconds."""
    try:
        rss: int = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return None
    return rss


def measure(pid: int, marker: tuple[str, str]) -> Usage:
    """Measure the whole tree; takes milliseconds, so call it in a thread."""
    memory, cpu, count = 0, 0.0, 0
    for process in tree_of(pid, marker=marker):
        try:
            with process.oneshot():
                times = process.cpu_times()
                full = process.memory_full_info()
        except psutil.Error:
            continue
        memory += getattr(full, "pss", full.rss)
        cpu += times.user + times.system
        count += 1
    return Usage(memory, cpu, count)
