"""How many files are made, by the counts of inodes that file systems keep."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

__all__ = ["NewFiles", "counts_files", "places"]

# Where a process finds its own /tmp and /dev/shm, whatever is mounted there for it alone.
OWN = ("/proc/{pid}/root/tmp", "/proc/{pid}/root/dev/shm")


class _Start(NamedTuple):
    place: Path
    used: int
    limit: int


def places(given: Iterable[Path], pid: int | None) -> list[Path]:
    """Paths on the file systems that the process may write to: the *given* ones, its /tmp, its /dev/shm."""
    return [*given, *(Path(path.format(pid=pid)) for path in OWN if pid is not None)]


def counts_files(path: Path) -> bool:
    """Whether the file system of *path* counts its files; btrfs, for one, has no such count."""
    with suppress(OSError):
        return _inodes(path) is not None
    return False


class NewFiles:
    """Counts what the file systems of *paths* have more than when this was made, whoever made it.

    *limit* is of each file system; None is half of what it has room for.
    """

    def __init__(self, paths: Sequence[Path], limit: int | None) -> None:
        self._paths, self._limit = paths, limit
        self._starts: dict[int, _Start] = {}
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._starts.clear()
        for path in self._paths:
            with suppress(OSError):
                device, inodes = path.stat().st_dev, _inodes(path)
                if inodes is not None and device not in self._starts:
                    used, free = inodes
                    self._starts[device] = _Start(path, used, self._limit or free // 2)

    def most(self) -> tuple[int, int]:
        """New files, and the limit, on the file system where it is nearest or passed furthest."""
        counts: list[tuple[int, int]] = []
        for start in self._starts.values():
            with suppress(OSError):
                if (inodes := _inodes(start.place)) is not None:
                    counts.append((inodes[0] - start.used, start.limit))
        return max(counts, key=lambda count: count[0] - count[1], default=(0, 0))


def _inodes(path: Path) -> tuple[int, int] | None:
    """Those in use, and those that are free. Raises: OSError."""
    if not hasattr(os, "statvfs"):
        return None
    status = os.statvfs(path)
    # In use, not free, is what is compared: XFS has fewer free ones as soon as a file grows.
    return (status.f_files - status.f_ffree, status.f_favail) if status.f_files else None
