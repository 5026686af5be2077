"""Every attempt at every level that works here; the expected outcomes are the table in `attempts.py`."""

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from kernel_exec.runtime import Runtime
from tests.security.attempts import INTRUSIONS, Attempt
from tests.security.conftest import World

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("attempt", INTRUSIONS, ids=lambda attempt: attempt.name)
async def test_hostile_code_does_what_the_table_says_and_no_more(
    world: World, runtime: Runtime, level: str, attempt: Attempt
) -> None:
    expected = attempt.outcome(level)
    if expected is None:
        pytest.skip("the user decides, so nothing is tried")
    other = runtime.sessions.get("other")
    session = await runtime.sessions.open("hostile")
    before = world.fingerprint()
    code = attempt.code.format(**_scene(world, runtime, level))

    execution = await session.execute(code, timeout_seconds=20)

    happened = execution.status == "ok"
    assert execution.status in ("ok", "error"), execution.text
    assert happened == (expected != "refused"), f"{execution.status}: {execution.text}"
    if attempt.name in ("daemon", "bare_daemon", "at_exit"):
        await runtime.sessions.close("hostile")
        left = await _left_of(world, grace_seconds=3)
        for process in left:
            process.kill()
        assert not left
    else:
        assert (await session.execute("1 + 1")).text == "2"
    _clear(world)
    if expected in ("refused", "contained"):
        assert world.fingerprint() == before
    else:
        _mend(world)
    assert (await other.execute("secret")).text == "42"


def _scene(world: World, runtime: Runtime, level: str) -> dict[str, object]:
    kernel = runtime.sessions.get("other").kernel
    assert kernel is not None
    connection = Path(kernel._manager.connection_file)
    return {
        "key": str(world.user / ".ssh" / "key"),
        "config": str(world.home / "config.toml"),
        "runtime": str(connection.parent.parent),
        "connection": str(connection),
        "socket": str(connection.with_name("s-1")),
        "control": str(connection.with_name(f"s-{kernel._manager.control_port}")),
        "server": os.getpid(),
        "outside": str(world.user / "outside"),
        "environment": str(world.home / "environments" / "default"),
        "victim": world.victim.pid,
        "fatal": 0 if level == "none" else 9,  # the parent is this process
        "port": world.port,
        "abstract": world.abstract,
        "daemon": world.base.name,
    }


async def _left_of(world: World, *, grace_seconds: float) -> list[psutil.Process]:
    """The processes of the attempt that are still there, if they do not end within the grace."""
    left: list[psutil.Process] = []
    async with asyncio.timeout(grace_seconds + 10):
        for _ in range(int(grace_seconds / 0.1)):
            left = [
                one
                for one in psutil.process_iter(["cmdline"])
                if world.base.name in (one.info["cmdline"] or [])
            ]
            if not left:
                break
            await asyncio.sleep(0.1)
    return left


def _clear(world: World) -> None:
    for path in world.workspace.iterdir():
        path.unlink()


def _mend(world: World) -> None:
    for path in (
        world.user / "outside" / "new",
        world.user / "new",
        world.home / "environments/default/new.py",
    ):
        path.unlink(missing_ok=True)
    key = world.user / ".ssh" / "key"
    key.write_text("a private key")
    key.chmod(0o600)
