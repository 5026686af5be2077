"""Enforces what nothing else does: interrupts a kernel at its limit, kills it above."""

import asyncio
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import structlog

from kernel_exec.kernels.kernel import Kernel
from kernel_exec.kernels.limits import Guard, size
from kernel_exec.kernels.monitor import INTERVAL_SECONDS, Monitor, Watched
from kernel_exec.kernels.usage import Usage

__all__ = ["Watchdog"]

log = structlog.get_logger(__name__)

WATCH_SECONDS = 0.25
BEYOND = 0.1  # of the limit
# A disk is filled less fast than memory, so code may clean up after the interrupt, and is killed only
# when it goes on after that: what was written still counts.
DISK = ("disk", "files")
DISK_GRACE_SECONDS = 2.0
BUSY_PERCENT = 5.0


class Watchdog:
    """Reads along with the *monitor*; all kernels that nothing else limits share *total_memory_bytes*."""

    def __init__(self, monitor: Monitor, total_memory_bytes: int) -> None:
        self._monitor = monitor
        self._total_memory_bytes = total_memory_bytes
        self._kernels: dict[Watched, Kernel] = {}
        # Since when, and what is too much: more than was used at some moment.
        self._over: dict[tuple[Watched, str], tuple[float, int, float]] = {}
        self._acting: set[asyncio.Task[None]] = set()

    def add(self, kernel: Kernel) -> None:
        """Watch over a kernel, and have it measured."""
        self._kernels[kernel.watched] = kernel
        self._monitor.add(kernel.watched)

    def remove(self, watched: Watched) -> None:
        """No longer watch over it."""
        self._monitor.remove(watched)
        self._kernels.pop(watched, None)
        self._over = {key: since for key, since in self._over.items() if key[0] is not watched}

    async def run(self) -> None:
        """Measure and watch until cancelled."""
        while True:
            often = any(one.guard.watches("memory") or one.guard.watches("pids") for one in self._kernels)
            try:
                await self._monitor.next(WATCH_SECONDS if often else INTERVAL_SECONDS)
                for watched in tuple(self._kernels):
                    if (usage := watched.fresh) is not None:
                        self._look(watched, usage)
                self._look_at_all()
                await self._look_at_files()
            except Exception:  # one bad reading must not end the watch
                log.exception("watchdog")
                await asyncio.sleep(INTERVAL_SECONDS)

    def _look(self, watched: Watched, usage: Usage) -> None:
        for what, used, limit, told in _limits(watched.guard, usage):
            self._judge(watched, what, used, limit, told)

    def _look_at_all(self) -> None:
        free = [one for one in self._kernels if one.guard.watches("memory") and one.fresh is not None]
        if free:
            used = sum(one.readings[-1].memory_bytes for one in free)
            largest = max(free, key=lambda one: one.readings[-1].memory_bytes)
            told = (
                f"the memory limit of all sessions together, {size(self._total_memory_bytes)} "
                f"(it had {size(largest.readings[-1].memory_bytes)})"
            )
            self._judge(largest, "total", used, self._total_memory_bytes, told)

    async def _look_at_files(self) -> None:
        """A file system tells how many files there are, not who made them: of the kernels that may have,
        that is the one that is busiest in the system; the others are counted anew.
        """
        counting = {one: one.guard.new_files for one in self._kernels if one.guard.new_files is not None}
        counts = await asyncio.to_thread(lambda: {one: files.most() for one, files in counting.items()})
        # Meanwhile a kernel may have ended, or begun another execution.
        same = {one for one in self._kernels if one.guard.new_files is counting.get(one, self)}
        over = {one for one in same if counts[one][0] > counts[one][1]}
        busiest = max(over, key=_busy, default=None)
        for one in same:
            new, limit = counts[one]
            if one in over and one is not busiest:
                counting[one].restart()
            elif one not in over or _busy(one) > BUSY_PERCENT:
                told = f"its limit of {limit:,} new files ({new:,} were made)"
                self._judge(one, "files", new, limit, told)

    def _judge(self, watched: Watched, what: str, used: int, limit: int, told: str) -> None:
        """Interrupt once when the limit is passed; kill when it goes on."""
        kernel, key, now = self._kernels[watched], (watched, what), time.monotonic()
        since, before, moment = self._over.get(key, (now, used, now))
        if what not in DISK:
            before = limit
        elif moment < since + DISK_GRACE_SECONDS:  # what is there after the grace is the code's to keep
            before, moment = used, now
        if used <= limit:
            self._over.pop(key, None)
            return
        if used > before + limit * BEYOND:
            watched.guard.killed_at = told
            self._do(kernel.kill())
        elif key not in self._over:
            watched.guard.interrupted_at = told
            self._do(kernel.interrupt())
        self._over[key] = since, before, moment

    def _do(self, action: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(action)
        self._acting.add(task)
        task.add_done_callback(self._acting.discard)


def _busy(watched: Watched) -> float:
    return watched.system_percent or 0.0


def _limits(guard: Guard, usage: Usage) -> Iterator[tuple[str, int, int, str]]:
    """What is watched: a name, what is used, the limit, and how to tell that it was passed."""
    limits = guard.limits
    if guard.watches("memory"):
        had = f"its memory limit {size(limits.memory_bytes)} (it had {size(usage.memory_bytes)})"
        yield "memory", usage.memory_bytes, limits.memory_bytes, had
    if guard.watches("pids"):
        had = f"its limit of {limits.processes} processes and threads (it had {usage.threads})"
        yield "pids", usage.threads, limits.processes, had
    if guard.disk_bytes is not None:
        written = usage.written_bytes - guard.written_before
        had = f"its disk limit {size(guard.disk_bytes)} (it wrote {size(written)})"
        yield "disk", written, guard.disk_bytes, had
