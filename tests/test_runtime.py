import asyncio
import os
import signal
import stat
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from kernel_exec.errors import ExecutionNotFound, SessionNotFound, SettingsError
from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.settings import Settings
from tests.conftest import ISOLATION, OpenSession, eventually

# A server process of its own: prints a line when its session executes, then goes on until it is killed.
SERVER = """
import asyncio, sys
from kernel_exec.runtime import open_runtime
from kernel_exec.settings import load_settings
async def main():
    async with open_runtime(load_settings(home=sys.argv[1], workspace=sys.argv[2])) as runtime:
        session = await runtime.sessions.open(sys.argv[3])
        done = await session.execute("x = 1")
        started = await session.execute(sys.argv[4])
        running = session.submit("import itertools, time; print('now'); time.sleep(0.3); all(itertools.repeat(1))")
        queued = session.submit("2")
        while not session.snapshot(running).text:
            await asyncio.sleep(0.01)
        print(session.kernel.pid, done.id, running.id, queued.id, started.text.strip(), flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
GRANDCHILD = "import subprocess; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"


@asynccontextmanager
async def server(
    settings: Settings, name: str, code: str = GRANDCHILD
) -> AsyncIterator[tuple[int, list[str]]]:
    """Another process with a session; its pid and the line that it printed."""
    arguments = ["-c", SERVER, str(settings.home), str(settings.workspace), name, code]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode().split()
        assert line, "the server process ended"
        yield process.pid, line
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(
    ISOLATION in ("bubblewrap", "container"),
    reason="the code tells pids of its own namespace; tests/security/test_server_killed.py has this",
)
async def test_a_killed_server_leaves_nothing_after_the_next_start(
    settings: Settings, runtime: Runtime
) -> None:
    before = set(os.listdir(settings.home / "runtime"))
    async with server(settings, "killed") as (pid, (kernel, done, running, queued, grandchild)):
        assert alive(int(kernel))
        assert alive(int(grandchild))
        assert len(os.listdir(settings.home / "runtime")) > len(before)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not alive(int(kernel)))  # although its code holds the GIL
    async with open_runtime(settings) as next_start:
        assert not alive(int(grandchild))
        statuses = [next_start.sessions.execution(one).status for one in (done, running, queued)]
        assert statuses == ["ok", "died", "died"]
        assert "server process ended" in next_start.sessions.execution(running).note
        with pytest.raises(SessionNotFound):
            next_start.sessions.get("killed")
        assert next_start.sessions.record("killed").name == "killed"
    assert set(os.listdir(settings.home / "runtime")) == before


async def test_two_processes_on_one_data_directory_do_not_touch_each_other(
    settings: Settings, open_session: OpenSession, runtime: Runtime
) -> None:
    mine = await open_session("same-name")
    await mine.execute("x = 'mine'")
    async with server(settings, "same-name") as (_, (kernel, _, running, *_)):
        async with open_runtime(settings):  # a start sweeps only what the dead left
            pass
        assert alive(int(kernel))
        assert runtime.sessions.execution(running).status == "running"
        assert (await mine.execute("x")).text == "'mine'"
        assert not runtime.sessions.find(running)


async def test_many_processes_may_start_on_a_new_data_directory_at_once(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\nfrom kernel_exec.runtime import open_runtime\n"
        "from kernel_exec.settings import load_settings\n"
        "async def main():\n"
        "    async with open_runtime(load_settings(home=sys.argv[1])) as runtime: pass\n"
        "asyncio.run(main())"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(tmp_path / "home"), stderr=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    errors = [(await process.communicate())[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors


def own_threads() -> int:
    """The threads of this process, without those that asyncio keeps for `to_thread`."""
    pool = [thread for thread in threading.enumerate() if thread.name.startswith("asyncio_")]
    return psutil.Process().num_threads() - len(pool)


async def test_leaving_the_runtime_leaves_no_process_file_or_task(settings: Settings) -> None:
    this = psutil.Process()

    async def use() -> None:
        async with open_runtime(settings) as runtime:
            first, second = await asyncio.gather(*(runtime.sessions.open(name) for name in ("a", "b")))
            await first.execute("import subprocess; subprocess.Popen(['sleep', '600'])")
            second.submit("while True: pass")
            await first.restart()

    await use()  # what is made once per process is made now
    tasks, files, threads = asyncio.all_tasks(), this.num_fds(), own_threads()
    children = {child.pid for child in this.children(recursive=True)}
    names = set(os.listdir(settings.home / "runtime"))
    await use()
    assert {child.pid for child in this.children(recursive=True) if alive(child.pid)} <= children
    assert asyncio.all_tasks() <= tasks
    await eventually(lambda: this.num_fds() <= files)
    await eventually(lambda: own_threads() <= threads)
    assert set(os.listdir(settings.home / "runtime")) == names


async def test_the_data_directory_is_for_its_owner_alone(settings: Settings, runtime: Runtime) -> None:
    await runtime.sessions.open("shared")
    runtime_directory = settings.home / "runtime"
    for directory in (settings.home, runtime_directory, *filter(Path.is_dir, runtime_directory.iterdir())):
        assert stat.S_IMODE(directory.stat().st_mode) & 0o777 == 0o700


async def test_a_long_data_directory_still_has_room_for_sockets(settings: Settings, tmp_path: Path) -> None:
    home = tmp_path / ("x" * 100)
    home.symlink_to(settings.home)
    async with open_runtime(settings.model_copy(update={"home": home})) as runtime:
        session = await runtime.sessions.open("far")
        assert (await session.execute("1 + 1")).text == "2"


def test_a_data_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def use() -> None:
        async with open_runtime(Settings(home=tmp_path / "file" / "home")):
            pass

    with pytest.raises(SettingsError, match="KERNEL_EXEC_HOME"):
        asyncio.run(use())


async def test_nobody_finds_what_is_anothers(runtime: Runtime, open_session: OpenSession) -> None:
    session = await open_session("mine")
    execution = await session.execute("1")
    with pytest.raises(SessionNotFound):
        runtime.sessions.get("mine", "somebody else")
    with pytest.raises(ExecutionNotFound):
        runtime.sessions.execution(execution.id, "somebody else")
    assert session not in runtime.sessions.list("somebody else")


@pytest.mark.parametrize("name", ["e0", "e999999999", "x", "", "e-1", "e1; drop table", "e" + "9" * 400])
async def test_an_unknown_execution_names_recent_ones(runtime: Runtime, name: str) -> None:
    session = await runtime.sessions.open("shared")
    recent = await session.execute("1")
    with pytest.raises(ExecutionNotFound, match=recent.id):
        runtime.sessions.execution(name)
