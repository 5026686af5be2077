"""The object that owns everything, as one context manager."""

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import filelock

from kernel_exec.cleanup import finish
from kernel_exec.environments import Environments
from kernel_exec.errors import SettingsError
from kernel_exec.kernels import Kernels
from kernel_exec.sessions.history import History, SessionActivity
from kernel_exec.sessions.sessions import Sessions
from kernel_exec.settings import Network, Settings, load_settings

__all__ = ["Runtime", "live_activity", "open_runtime", "sessions_by_environment"]

T = TypeVar("T")

# Paths of unix sockets have at most 107 bytes (103 on macOS); the directory leaves room for `/<12>/s-5`.
LONGEST_DIRECTORY_BYTES = 85


@dataclass(frozen=True, slots=True)
class Runtime:
    """Environments, sessions and their history, for one process and one data directory."""

    settings: Settings
    environments: Environments
    sessions: Sessions
    history: History
    kernels: Kernels
    tasks: set[asyncio.Task[Any]]

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do work that outlives the call that asked for it; it is cancelled when the runtime is closed."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


@asynccontextmanager
async def open_runtime(
    settings: Settings | None = None, *, default_network: Network = "on"
) -> AsyncIterator[Runtime]:
    """Own kernels and sessions until the block is left; then all of them are ended, whatever happened.

    Several processes may use one data directory; each has its own sessions. *default_network* is what
    isolated code gets where the setting `network` says nothing.

    Raises: SettingsError, when the data directory cannot be used.
    """
    settings = settings or load_settings()
    _make_home(settings.home)
    server = f"{os.getpid():x}{secrets.token_hex(2)}"
    with (
        _server_directory(settings.home, server) as directory,
        contextlib.closing(History(settings.home)) as history,
        contextlib.closing(Kernels(settings, directory, server, default_network=default_network)) as kernels,
    ):
        await _sweep(settings.home, history)
        environments = Environments(settings)
        tasks: set[asyncio.Task[Any]] = set()
        sessions = Sessions(settings, environments, kernels, history, server)
        runtime = Runtime(settings, environments, sessions, history, kernels, tasks)
        _ = runtime.start(kernels.watch())
        try:
            yield runtime
        finally:
            await finish(_close(sessions, environments, tasks))


async def _close(
    sessions: Sessions, environments: Environments, tasks: Collection[asyncio.Task[Any]]
) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(sessions.close_all(), environments.close())


def sessions_by_environment(home: Path) -> dict[str, list[str]]:
    """The names of the open sessions of all living processes on a data directory, by environment."""
    found: dict[str, list[str]] = {}
    if (home / "state.db").exists():
        with contextlib.closing(History(home)) as history:
            for name, environment, server in history.open_sessions():
                if _alive(home, server):
                    found.setdefault(environment, []).append(name)
    return found


def live_activity(home: Path, history: History) -> list[SessionActivity]:
    """What the sessions of all living processes on a data directory do."""
    found = history.activity()
    servers = {server for server in {one.server for one in found} if _alive(home, server)}
    return [one for one in found if one.server in servers]


def _make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.chmod(0o700)
        (home / "runtime").mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(
            f"The data directory {str(home)!r} cannot be used: {error}.",
            "Set KERNEL_EXEC_HOME to a directory that you can write to.",
        ) from error


@contextmanager
def _server_directory(home: Path, server: str) -> Iterator[Path]:
    """A directory of this process alone, for connection files and sockets.

    The lock beside it is held as long as the process lives, so that others can tell.
    """
    directory = home / "runtime" / server
    with filelock.FileLock(_lock_path(home, server)):
        try:
            if len(os.fsencode(directory)) <= LONGEST_DIRECTORY_BYTES:
                directory.mkdir(mode=0o700)
            else:
                directory.symlink_to(tempfile.mkdtemp(prefix="kx"))
            yield directory.resolve()
        finally:
            _remove(directory)
    _lock_path(home, server).unlink(missing_ok=True)


def _lock_path(home: Path, server: str) -> Path:
    return home / "runtime" / f"{server}.lock"


def _alive(home: Path, server: str) -> bool:
    """Whether the process that had this server name still holds its lock."""
    path = _lock_path(home, server)
    if not path.exists():
        return False
    try:
        with filelock.FileLock(path, blocking=False):
            return False
    except filelock.Timeout:
        return True


async def _sweep(home: Path, history: History) -> None:
    """Clear up after servers that were killed: their kernels, their directories, their executions."""
    history.end_sessions_of(lambda server: _alive(home, server))
    for path in (home / "runtime").glob("*.lock"):
        if not _alive(home, path.stem):
            await Kernels.sweep(path.stem)
            _remove(home / "runtime" / path.stem)
            path.unlink(missing_ok=True)


def _remove(directory: Path) -> None:
    shutil.rmtree(directory.resolve(), ignore_errors=True)
    if directory.is_symlink():
        directory.unlink()
