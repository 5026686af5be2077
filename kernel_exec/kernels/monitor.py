"""Measures all kernels of a server once a second, off the hot path; the watchdog reads along."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import psutil
import structlog

from kernel_exec.kernels.limits import Guard
from kernel_exec.kernels.usage import Usage, measure

__all__ = ["INTERVAL_SECONDS", "Members", "Monitor", "Watched"]

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 1.0
KEPT_SECONDS = 15 * 60
FRESH_SECONDS = 2.5
# A process that has just been forked shows its parent's variables until it runs its own program.
SETTLED_SECONDS = 5.0


@dataclass(eq=False)
class Watched:
    """A kernel that is measured: its process, the value of its marker, its limits, and what was seen."""

    pid: int | None
    marker: str
    guard: Guard
    readings: deque[Usage] = field(default_factory=lambda: deque(maxlen=int(KEPT_SECONDS / INTERVAL_SECONDS)))

    @property
    def fresh(self) -> Usage | None:
        """The last reading, unless it is old."""
        last = self.readings[-1] if self.readings else None
        return last if last is not None and time.monotonic() - last.at < FRESH_SECONDS else None

    @property
    def cpu_percent(self) -> float | None:
        """Of one core, between the last two readings."""
        return self._percent(lambda usage: usage.cpu_seconds)

    @property
    def system_percent(self) -> float | None:
        """The same of the time that it spent in the system's kernel."""
        return self._percent(lambda usage: usage.system_seconds)

    def _percent(self, seconds: Callable[[Usage], float]) -> float | None:
        if len(self.readings) < 2:
            return None
        before, last = self.readings[-2], self.readings[-1]
        return max(0.0, 100 * (seconds(last) - seconds(before)) / (last.at - before.at))

    def peak_bytes(self, since: float) -> int:
        """The most memory seen since that moment of `time.monotonic()`."""
        return max((one.memory_bytes for one in self.readings if one.at >= since), default=0)


class Members:
    """Which processes belong to which kernel: each is asked once, for the marker that it inherited; one
    that has none belongs where its parent does.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: dict[int, tuple[psutil.Process, str]] = {}

    def find(self) -> Mapping[str, list[psutil.Process]]:
        """The processes by the value of their marker. Takes milliseconds."""
        pids = psutil.pids()
        self._known = {pid: self._known[pid] for pid in pids if pid in self._known}
        for pid in pids:
            if pid not in self._known:
                self._ask(pid)
        found: dict[str, list[psutil.Process]] = {}
        for process, marker in self._known.values():
            if marker:
                found.setdefault(marker, []).append(process)
        return found

    def _ask(self, pid: int) -> None:
        marker = ""
        try:
            process = psutil.Process(pid)
            settled = time.time() - process.create_time() > SETTLED_SECONDS
            marker = self._known.get(process.ppid(), (process, ""))[1] or process.environ().get(
                self._name, ""
            )
        except (psutil.ZombieProcess, psutil.AccessDenied, OSError):  # ended, or another user's
            settled = True
        except psutil.Error:
            return
        if marker or settled:
            self._known[pid] = (process, marker)


class Monitor:
    """Measures kernels from `add` to `remove`, while `run` runs."""

    def __init__(self, marker_name: str) -> None:
        self._members = Members(marker_name)
        self._watched: set[Watched] = set()
        self._processes: dict[int, psutil.Process] = {}
        self._changed = asyncio.Event()

    @property
    def watched(self) -> Iterable[Watched]:
        """What is measured now."""
        return tuple(self._watched)

    def add(self, watched: Watched) -> None:
        """Begin to measure."""
        self._watched.add(watched)
        self._changed.set()

    def remove(self, watched: Watched) -> None:
        """No longer measure; the readings stay."""
        self._watched.discard(watched)

    async def next(self, interval_seconds: float) -> None:
        """Wait, then measure all in a thread; without kernels, wait for the first one."""
        if not self._watched:
            self._changed.clear()
            await self._changed.wait()
        begun = time.monotonic()
        watched = tuple(self._watched)
        for one, usage in zip(watched, await asyncio.to_thread(self._measure, watched), strict=True):
            if usage.processes:
                # Readings in between are for the watchdog alone.
                if len(one.readings) > 1 and usage.at - one.readings[-2].at < INTERVAL_SECONDS * 0.9:
                    one.readings.pop()
                one.readings.append(usage)
        await asyncio.sleep(max(0.0, interval_seconds - (time.monotonic() - begun)))

    def _measure(self, watched: Iterable[Watched]) -> list[Usage]:
        grouped = {one: one.guard.group.pids() for one in watched if one.guard.group is not None}
        members = self._members.find() if len(grouped) < len(tuple(watched)) else {}
        pids = {pid for pids in grouped.values() for pid in pids}
        self._processes = {pid: process for pid in pids if (process := self._process(pid)) is not None}
        return [
            measure(
                [self._processes[pid] for pid in grouped[one] if pid in self._processes]
                if one in grouped
                else members.get(one.marker, ()),
                one.pid,
            )
            for one in watched
        ]

    def _process(self, pid: int) -> psutil.Process | None:
        known = self._processes.get(pid)
        try:
            return known if known is not None and known.is_running() else psutil.Process(pid)
        except psutil.Error:
            return None
