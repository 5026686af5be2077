"""One writer for each environment, among tasks and among processes."""

import asyncio
import json
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from kernel_exec.environments.files import write_whole
from kernel_exec.errors import EnvironmentBusy

__all__ = ["Locks"]

POLL_SECONDS = 0.05


class Locks:
    """The locks of one directory of environments; they lie beside what they protect.

    A lock is one of the operating system's, so a killed owner frees it. Names that differ only in
    case share a lock, as they would share a directory on some file systems.
    """

    def __init__(self, directory: Path, wait_seconds: float) -> None:
        self._directory = directory
        self._wait_seconds = wait_seconds
        self._tasks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def exclusive(
        self,
        name: str,
        doing: str,
        *,
        wait_seconds: float | None = None,
        on_wait: Callable[[str], None] | None = None,
    ) -> AsyncIterator[None]:
        """Be the only writer of *name*, among tasks and among processes.

        *doing* tells others what they wait for. *on_wait* gets, once, who holds the lock when it is
        not free. The wait can be cancelled.

        Raises: EnvironmentBusy, after *wait_seconds* (default: the setting `lock_wait_seconds`).
        """
        bound = self._wait_seconds if wait_seconds is None else wait_seconds
        started = time.monotonic()
        key = name.lower()
        among_tasks, among_processes = self._tasks[key], FileLock(self._path(key, "lock"), thread_local=False)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

        if among_tasks.locked() and on_wait is not None:
            on_wait(self.holder(name))
        try:
            async with asyncio.timeout(bound):
                await among_tasks.acquire()
        except TimeoutError:
            raise EnvironmentBusy(name, self.holder(name), bound) from None
        try:
            told = on_wait is None
            while not _taken(among_processes):
                if time.monotonic() - started >= bound:
                    raise EnvironmentBusy(name, self.holder(name), bound)
                if on_wait is not None and not told:
                    on_wait(self.holder(name))
                    told = True
                await asyncio.sleep(POLL_SECONDS)  # an OS lock cannot be awaited
            try:
                write_whole(self._path(key, "holder"), json.dumps({"pid": os.getpid(), "doing": doing}))
                yield
            finally:
                self._path(key, "holder").unlink(missing_ok=True)
                among_processes.release()
        finally:
            among_tasks.release()

    def holder(self, name: str) -> str:
        """Who holds the lock of *name*, for a person to read; only sensible while it is held."""
        with suppress(OSError, ValueError, KeyError):
            told = json.loads(self._path(name.lower(), "holder").read_text(encoding="utf-8"))
            if told["pid"] == os.getpid():
                return f"another call ({told['doing']})"
            if psutil.pid_exists(told["pid"]):
                return f"process {told['pid']} ({told['doing']})"
        return "another process"

    def _path(self, key: str, kind: str) -> Path:
        return self._directory / f".{key}.{kind}"


def _taken(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True
