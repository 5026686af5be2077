"""What every operation on environments works with."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from kernel_exec.environments.environment import Environment
from kernel_exec.environments.installer import Installer, Progress
from kernel_exec.environments.layers import Layers
from kernel_exec.environments.locks import Locks
from kernel_exec.environments.requirements import Policy
from kernel_exec.environments.store import Store
from kernel_exec.errors import EnvironmentBroken
from kernel_exec.settings import Settings

__all__ = ["Parts", "silent"]


class Parts:
    """The disk, its locks, the installer, the layers and what the settings allow."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.home)
        self.locks = Locks(self.store.directory, settings.lock_wait_seconds)
        self.installer = Installer(settings)
        self.layers = Layers(settings.home, self.installer, settings.lock_wait_seconds)
        self.policy = Policy(settings)

    def get(self, name: str) -> Environment:
        """The environment *name*, whole.

        Raises: EnvironmentNotFound, EnvironmentBroken.
        """
        environment = self.store.read(name)
        if environment.broken:
            raise EnvironmentBroken(name, environment.broken)
        return environment

    @asynccontextmanager
    async def exclusive(
        self, *names: str, doing: str, on_progress: Progress | None = None
    ) -> AsyncIterator[None]:
        """Be the only writer of *names*; *on_progress* is told whom it waits for.

        Raises: EnvironmentBusy.
        """
        tell = on_progress or silent
        self.store.prepare()
        async with AsyncExitStack() as stack:
            for name in sorted(set(names), key=str.lower):  # in order, so that no two wait for each other
                lock = self.locks.exclusive(name, doing, on_wait=lambda who: tell(f"Waiting for {who}"))
                await stack.enter_async_context(lock)
            yield


def silent(_: str) -> None:
    """Progress that no one asked for."""
