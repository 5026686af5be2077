"""The server is killed with SIGKILL: nothing of its kernels is left, whatever they were doing."""

import asyncio
import os
import signal
import sys

import psutil
import pytest

from kernel_exec.kernels.provisioners.container import find_engine
from kernel_exec.processes import run
from kernel_exec.runtime import open_runtime
from kernel_exec.settings import load_settings
from tests.security.conftest import SETTINGS, World

pytestmark = pytest.mark.slow

SERVER = """
import asyncio, sys
from kernel_exec.runtime import open_runtime
from kernel_exec.settings import load_settings

async def main(how):
    async with open_runtime(load_settings(**how)) as runtime:
        idle = await runtime.sessions.open("idle")
        busy = await runtime.sessions.open("busy")
        detached = "subprocess.Popen(['/bin/sleep', '987'], env={{}}, start_new_session=True)"
        await busy.execute("import subprocess; " + detached)
        busy.submit("sum(range(10**12))")
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main({how!r}))
"""
GONE_SECONDS = 10


@pytest.mark.parametrize("mechanism", ["landlock", "bubblewrap"])
async def test_nothing_survives_a_server_that_was_killed(
    world: World, environment: None, mechanism: str
) -> None:
    before = set(psutil.pids())
    server = await _server(world, mechanism)
    ours = set(psutil.pids()) - before
    assert len(_sleepers(ours)) == 1
    server.send_signal(signal.SIGKILL)
    await server.wait()
    async with asyncio.timeout(GONE_SECONDS):
        while _alive(world) or _sleepers(ours):
            await asyncio.sleep(0.05)


async def test_containers_of_a_server_that_was_killed_are_removed_at_the_next_start(
    world: World, environment: None
) -> None:
    before = await _containers()
    await _server_or_skip(world)
    left = await _containers() - before
    assert len(left) == 2
    async with open_runtime(load_settings(home=world.home, workspace=world.workspace)):
        assert not await _containers() & left


async def _containers() -> set[str]:
    engine = find_engine("podman")
    if engine is None:
        pytest.skip("podman is not installed")
    listing = [engine, "ps", "-aq", "--filter", "label=kernel-exec.server"]
    return set((await run(listing, timeout_seconds=30)).output.split())


async def _server_or_skip(world: World) -> None:
    server = await _server(world, "container")
    server.send_signal(signal.SIGKILL)
    await server.wait()


async def _server(world: World, level: str) -> asyncio.subprocess.Process:
    how = SETTINGS[level] | {"home": str(world.home), "workspace": str(world.workspace)}
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVER.format(how=how),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    assert server.stdout is not None
    assert server.stderr is not None
    if await server.stdout.readline() != b"ready\n":
        errors = (await server.stderr.read()).decode()
        if "IsolationUnavailable" in errors:
            pytest.skip(errors.splitlines()[-1])
        raise AssertionError(errors)
    return server


def _alive(world: World) -> list[int]:
    """Processes that the data directory is part of the command line of."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(world.home / "environments") in part for part in process.info["cmdline"] or [])
    ]


def _sleepers(pids: set[int]) -> list[int]:
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).cmdline() == ["/bin/sleep", "987"]:
                found.append(pid)
        except psutil.Error:
            continue
    return found
