"""Code that takes all there is: it is stopped at a limit, and the host and the others are as before."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from kernel_exec.processes import tree_of
from kernel_exec.runtime import Runtime
from tests.conftest import eventually
from tests.security.attempts import EXHAUSTIONS, Attempt
from tests.security.conftest import World, open_level

pytestmark = pytest.mark.slow

MEBIBYTE = 1 << 20
LIMITS = {
    "memory_limit_bytes": 300 * MEBIBYTE,
    "processes_limit": 64,
    "open_files_limit": 256,
    "file_size_limit_bytes": 2 * MEBIBYTE,
    "disk_limit_bytes": 50 * MEBIBYTE,
    "files_limit": 3_000,
    "output_limit_bytes": 8 * MEBIBYTE,
}
TIMEOUT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
# Others use the machine too; what is attempted is some hundred times as much.
MEMORY_TOLERANCE_BYTES = DISK_TOLERANCE_BYTES = 500 * MEBIBYTE
PROCESSES_TOLERANCE = 64 + 100
SERVER_TOLERANCE_BYTES = 64 * MEBIBYTE

# How it is told which limit it was.
TOLD = {
    "fork_bomb": "CalledProcessError|64 processes and threads|timeout_seconds",
    "memory": "memory limit of a session is 300 MiB.*MemoryError",
    "shared_memory": "(killed|interrupted) at its memory limit 300 MiB|out of memory",
    "sparse_file": "File too large",
    "large_file": "File too large",
    "disk": "disk limit 50 MiB",
    "reserve_disk": "disk limit 50 MiB",
    "files": "limit of 3,000 new files",
    "temporary_files": "limit of 3,000 new files",
    "open_files": "Too many open files",
    "cpu": r"interrupted after 5 s \(timeout_seconds\)",
    "output": "not kept|memory limit|out of memory",
}


@dataclass(frozen=True)
class Room:
    """What the host has left, in bytes."""

    memory: int
    disk: int

    @classmethod
    def of(cls, world: World) -> "Room":
        return cls(psutil.virtual_memory().available, shutil.disk_usage(world.workspace).free)

    def is_back_to(self, before: "Room") -> bool:
        return (
            self.memory > before.memory - MEMORY_TOLERANCE_BYTES
            and self.disk > before.disk - DISK_TOLERANCE_BYTES
        )


@pytest_asyncio.fixture(scope="module")
async def small(world: World, environment: None, level: str) -> AsyncIterator[Runtime]:
    """A server at this level whose sessions may have little."""
    async with open_level(world, level, **LIMITS) as runtime:
        yield runtime


@pytest.mark.parametrize("attempt", EXHAUSTIONS, ids=lambda attempt: attempt.name)
async def test_code_that_takes_all_is_stopped_and_the_host_is_as_before(
    world: World, small: Runtime, level: str, attempt: Attempt
) -> None:
    if attempt.outcome(level) is None:
        pytest.skip("the user decides, so nothing is tried")
    other = small.sessions.get("other")
    fingerprint, room = world.fingerprint(), Room.of(world)
    server, processes = psutil.Process().memory_info().rss, len(psutil.pids())
    session = await small.sessions.open("hostile")
    assert session.kernel is not None
    marker = session.kernel.marker
    code = attempt.code.format(name=world.base.name)

    running = asyncio.create_task(session.execute(code, timeout_seconds=TIMEOUT_SECONDS))
    while not running.done():
        async with asyncio.timeout(ANSWER_SECONDS):
            assert (await other.execute("secret")).text == "42"
        assert len(psutil.pids()) < processes + PROCESSES_TOLERANCE
        await asyncio.wait({running}, timeout=0.3)
    execution = await running

    told = f"{execution.status} {execution.note} {execution.error}"
    assert re.search(TOLD[attempt.name], told, re.DOTALL), told
    assert psutil.Process().memory_info().rss < server + SERVER_TOLERANCE_BYTES
    await small.sessions.close("hostile")
    assert tree_of(None, marker=marker) == []
    _clear(world)
    await eventually(lambda: Room.of(world).is_back_to(room))
    await eventually(lambda: world.fingerprint() == fingerprint)  # engines unmount late
    assert (await other.execute("secret")).text == "42"


def _clear(world: World) -> None:
    for directory in (world.workspace, Path(tempfile.gettempdir())):
        for path in directory.glob(f"{world.base.name}?*" if directory != world.workspace else "*"):
            path.unlink()
