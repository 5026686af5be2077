"""What all tests share: one data directory with one default environment, and one open runtime."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.sessions.session import Session
from kernel_exec.settings import Settings, load_settings

OpenSession = Callable[..., Awaitable[Session]]

# The suite runs under one isolation: TEST_ISOLATION=bubblewrap pytest. As variables, so that servers that
# tests start as processes have it too.
ISOLATION = os.environ.get("TEST_ISOLATION", "none")
os.environ["KERNEL_EXEC_ISOLATION"] = {"none": "none", "container": "container"}.get(ISOLATION, "sandbox")
if ISOLATION in ("bubblewrap", "landlock"):
    os.environ["KERNEL_EXEC_SANDBOXES"] = f'["{ISOLATION}"]'


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A data directory. Its path is short, because paths of unix sockets must be."""
    with tempfile.TemporaryDirectory(prefix="kx", ignore_cleanup_errors=True) as directory:
        yield Path(directory).resolve() / "home"


@pytest.fixture(scope="session")
def settings(home: Path) -> Settings:
    """Settings on the shared data directory, with a ladder that is climbed fast."""
    workspace = home.parent / "workspace"
    workspace.mkdir()
    return load_settings(
        home=home, workspace=workspace, interrupt_grace_seconds=2, timeout_seconds=60, progress_seconds=0.5
    )


@pytest_asyncio.fixture(scope="session")
async def runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """The runtime that tests share; its default environment exists."""
    async with open_runtime(settings) as runtime:
        await runtime.environments.ensure(settings.default_environment)
        yield runtime


@pytest_asyncio.fixture(scope="session")
async def session(runtime: Runtime) -> Session:
    """A session that tests share: leave its kernel alive and idle."""
    return await runtime.sessions.open("shared")


@pytest_asyncio.fixture
async def open_session(runtime: Runtime) -> AsyncIterator[OpenSession]:
    """Opens sessions for one test, by default under a new name each; they are closed after it."""
    opened: list[Session] = []
    numbers = count(1)

    async def open_session(name: str = "", **how: object) -> Session:
        name = name or f"own-{next(numbers)}"
        opened.append(await runtime.sessions.open(name, **how))  # type: ignore[arg-type]
        return opened[-1]

    yield open_session
    await asyncio.gather(*(runtime.sessions.close(one.name) for one in opened if not one.closed))


async def eventually(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until *condition* holds; fail when it does not within *seconds*."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
