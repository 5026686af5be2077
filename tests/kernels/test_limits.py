"""Code that takes more than it may. Limits are small, so that nothing here endangers the machine."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from kernel_exec.errors import StateLost, TooManySessions
from kernel_exec.kernels import limits
from kernel_exec.kernels.cgroups import find_hierarchies
from kernel_exec.kernels.files import counts_files
from kernel_exec.kernels.limits import Limiter, limit_lines
from kernel_exec.kernels.monitor import INTERVAL_SECONDS
from kernel_exec.kernels.watchdog import DISK_GRACE_SECONDS
from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.settings import EnvironmentSettings, Settings
from tests.conftest import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="these limits need Linux")

MEBIBYTE = 1 << 20
Opened = Callable[..., AbstractAsyncContextManager[Runtime]]

FILL_SHARED = "import mmap\nm = mmap.mmap(-1, {size})\nfor at in range(0, len(m), 4096): m[at] = 1"
FILL_DISK = (
    "import os, time\nwith open('fill', 'wb') as f:\n"
    "  while True: f.write(bytes(1 << 20)); os.fsync(f.fileno()); time.sleep(.05)"
)
FORK = (
    "import os, time\npids = []\nwhile True:\n  pid = os.fork()\n"
    "  if not pid: time.sleep(60); os._exit(0)\n  pids.append(pid)"
)


def controllers() -> set[str]:
    return {name for one in find_hierarchies() for name in one.controllers}


def needs(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not set(names) <= controllers(),
        reason=f"no control group with {' and '.join(names)} can be made here",
    )


@pytest.fixture
def opened(settings: Settings, runtime: Runtime) -> Opened:
    """Opens a second runtime on the data directory, with other settings."""

    @asynccontextmanager
    async def opened(**changes: object) -> AsyncIterator[Runtime]:
        async with open_runtime(settings.model_copy(update=changes)) as runtime:
            yield runtime

    return opened


@pytest_asyncio.fixture(scope="module")
async def small(settings: Settings, runtime: Runtime) -> AsyncIterator[Runtime]:
    """A runtime whose sessions may have 200 MiB, 64 processes, 100 files and files of 1 MiB."""
    changes = {
        "memory_limit_bytes": 200 * MEBIBYTE,
        "processes_limit": 64,
        "open_files_limit": 100,
        "file_size_limit_bytes": MEBIBYTE,
    }
    async with open_runtime(settings.model_copy(update=changes)) as runtime:
        yield runtime


@pytest.fixture
def without_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where no control groups can be made."""
    monkeypatch.setattr(limits, "find_hierarchies", list)


@pytest.mark.parametrize(
    "code", ["x = bytearray(10**9)", "x = []\nwhile True: x.append(bytes(500))", "x = ['y' * 10**6] * 10**10"]
)
async def test_code_that_asks_for_too_much_memory_gets_a_memory_error_and_lives_on(
    small: Runtime, code: str
) -> None:
    session = await small.sessions.open("greedy")
    await session.execute("kept = 1")
    execution = await session.execute(code)
    assert execution.status == "error"
    assert execution.error is not None
    assert execution.error.name == "MemoryError"
    assert "200 MiB" in execution.note
    assert (await session.execute("x = None; kept")).text == "1"


@needs("memory")
async def test_code_past_its_memory_limit_is_killed_and_other_sessions_notice_nothing(small: Runtime) -> None:
    session, other = await small.sessions.open("past"), await small.sessions.open("other")
    await other.execute("z = 1")
    server = psutil.Process().memory_info().rss
    waiting = other.submit("import time; time.sleep(1); z")
    execution = await session.execute(FILL_SHARED.format(size=400 * MEBIBYTE))
    assert execution.status == "died"
    assert "killed at its memory limit 200 MiB (peak 200 MiB)" in execution.note
    await waiting.finished.wait()
    assert other.snapshot(waiting).text == "1"
    assert (await session.execute("1")).text == "1"
    assert psutil.Process().memory_info().rss < server + 50 * MEBIBYTE


@needs("memory")
async def test_a_child_that_is_killed_for_its_memory_is_told(small: Runtime) -> None:
    session = await small.sessions.open("parent")
    child = FILL_SHARED.format(size=400 * MEBIBYTE)
    execution = await session.execute(
        f"import subprocess, sys\nkept = subprocess.run([sys.executable, '-c', {child!r}]).returncode; kept"
    )
    assert (execution.status, execution.text) == ("ok", "-9")
    assert "1 of its other processes died" in execution.note


@needs("pids")
async def test_a_bomb_of_processes_ends_at_its_limit(opened: Opened) -> None:
    async with opened(processes_limit=64) as runtime:
        session = await runtime.sessions.open("bomb")
        execution = await session.execute(FORK)
        assert execution.error is not None
        assert execution.error.name == "BlockingIOError"
        assert int((await session.execute("len(pids)")).text) < 64
        assert (await session.execute("import signal\nfor pid in pids: os.kill(pid, 9)\n1")).text == "1"


@pytest.mark.slow
@needs("cpu")
async def test_a_session_has_the_cores_that_it_may_have(opened: Opened) -> None:
    async with opened(cpu_limit_cores=0.2) as runtime:
        session = await runtime.sessions.open("slow")
        busy = (
            "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\ntime.process_time()"
        )
        before = float((await session.execute("import time; time.process_time()")).text)
        assert float((await session.execute(busy)).text) - before < 1


@pytest.mark.slow
@needs("pids")
async def test_nothing_outlives_its_session_whatever_it_did_to_hide(opened: Opened, runtime: Runtime) -> None:
    async with opened(isolation="none") as own:
        session = await own.sessions.open("hiding")
        daemon = (
            "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
            "open('daemon', 'w').write(str(os.getpid())); time.sleep(600)"
        )
        hide = (
            "import os, subprocess, sys, time\n"
            f"subprocess.run([sys.executable, '-c', {daemon!r}], env={{}})\n"
            "while not os.path.exists('daemon') or not open('daemon').read(): time.sleep(.01)\n"
            "pid = int(open('daemon').read()); os.remove('daemon'); pid"
        )
        pid = int((await session.execute(hide)).text)
        assert psutil.pid_exists(pid)
        await own.sessions.close("hiding")
        await eventually(
            lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        )


async def test_a_flood_of_open_files_ends_at_its_limit(small: Runtime) -> None:
    session = await small.sessions.open("files")
    execution = await session.execute("files = []\nwhile True: files.append(open('/dev/null'))")
    assert execution.error is not None
    assert "Too many open files" in execution.error.value
    assert int((await session.execute("len(files)")).text) < 100
    assert (await session.execute("del files; 1")).text == "1"


@pytest.mark.parametrize("write", ["f.write(bytes(5 << 20)); f.flush()", "f.truncate(5 << 20)"])
async def test_a_file_grows_to_its_limit(small: Runtime, write: str) -> None:
    session = await small.sessions.open("files")
    execution = await session.execute(f"f = open('large', 'wb', buffering=0)\n{write}")
    size = (
        await session.execute("import os\nsize = os.path.getsize('large'); os.remove('large'); size")
    ).text
    assert execution.status == "error" or "write" in write  # write() writes what it can
    assert int(size) <= MEBIBYTE


async def test_without_groups_code_at_its_memory_limit_is_interrupted(
    without_groups: None, opened: Opened
) -> None:
    async with opened(memory_limit_bytes=300 * MEBIBYTE) as runtime:
        session = await runtime.sessions.open("watched")
        await session.execute("kept = 1\n" + FILL_SHARED.format(size=200 * MEBIBYTE))
        slowly = (
            "import time\nmore = mmap.mmap(-1, 600 << 20)\n"
            "for at in range(0, len(more), 1 << 20): more[at:at+2**20] = bytes(2**20); time.sleep(.02)"
        )
        execution = await session.execute(slowly)
        assert execution.status == "interrupted"
        assert "interrupted at its memory limit 300 MiB (it had 3" in execution.note
        assert (await session.execute("del more; kept")).text == "1"


async def test_without_groups_code_above_its_memory_limit_is_killed(
    without_groups: None, opened: Opened
) -> None:
    async with opened(memory_limit_bytes=300 * MEBIBYTE) as runtime:
        session = await runtime.sessions.open("watched")
        deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        forever = "\nimport time; time.sleep(60)"
        execution = await session.execute(deaf + FILL_SHARED.format(size=500 * MEBIBYTE) + forever)
        assert execution.status == "died"
        assert "killed at its memory limit 300 MiB (it had" in execution.note


async def test_without_groups_a_bomb_of_processes_is_killed(without_groups: None, opened: Opened) -> None:
    async with opened(processes_limit=48) as runtime:
        session = await runtime.sessions.open("watched")
        execution = await session.execute("import time\n" + FORK.replace("  pids", "  time.sleep(.02); pids"))
        assert execution.status in ("died", "interrupted")
        assert "limit of 48 processes and threads" in execution.note


async def test_without_groups_all_sessions_together_have_a_limit(
    without_groups: None, opened: Opened
) -> None:
    async with opened(total_memory_limit_bytes=300 * MEBIBYTE) as runtime:
        small, large = await runtime.sessions.open("small"), await runtime.sessions.open("large")
        execution = await large.execute(
            FILL_SHARED.format(size=320 * MEBIBYTE) + "\nimport time; time.sleep(60)"
        )
        assert execution.status in ("died", "interrupted")
        assert "limit" in execution.note
        assert (await small.execute("1")).text == "1"


@pytest.mark.slow
async def test_code_that_fills_the_disk_is_interrupted(opened: Opened, settings: Settings) -> None:
    async with opened(disk_limit_bytes=20 * MEBIBYTE) as runtime:
        session = await runtime.sessions.open("writer")
        execution = await session.execute(FILL_DISK, timeout_seconds=30)
        Path(settings.workspace, "fill").unlink()
        if not execution.spent.written_bytes:
            pytest.skip("this file system does not count what is written")
        assert execution.status == "interrupted"
        assert "disk limit 20 MiB" in execution.note


MAKE_FILES = "import itertools, time\nfor n in itertools.count():\n  open(f'f{n}', 'w').close()\n  time.sleep(n % 100 == 0 and .05)"


@pytest.mark.slow
@pytest.mark.skipif(not counts_files(Path(tempfile.gettempdir())), reason="no count of inodes here")
async def test_code_that_makes_too_many_files_is_interrupted_and_others_are_not(
    opened: Opened, settings: Settings
) -> None:
    async with opened(files_limit=1000) as runtime:
        session, other = await runtime.sessions.open("many"), await runtime.sessions.open("few")
        sleeping = other.submit("import time; time.sleep(6); 1")
        await session.execute("kept = 1")
        execution = await session.execute(MAKE_FILES, timeout_seconds=30)
        for path in settings.workspace.glob("f[0-9]*"):
            path.unlink()
        assert execution.status == "interrupted"
        assert "its limit of 1,000 new files" in execution.note
        await sleeping.finished.wait()
        assert other.snapshot(sleeping).text == "1"
        assert (await session.execute("kept")).text == "1"


@pytest.mark.slow
async def test_code_that_stops_when_its_disk_limit_interrupts_it_is_not_killed(
    opened: Opened, settings: Settings
) -> None:
    async with opened(disk_limit_bytes=2 * MEBIBYTE) as runtime:
        session = await runtime.sessions.open("writer")
        await session.execute("kept = 1")
        execution = await session.execute(FILL_DISK, timeout_seconds=30)
        Path(settings.workspace, "fill").unlink()
        if not execution.spent.written_bytes:
            pytest.skip("this file system does not count what is written")
        assert execution.status == "interrupted"
        await asyncio.sleep(DISK_GRACE_SECONDS + 2 * INTERVAL_SECONDS)
        assert (await session.execute("kept")).text == "1"


async def test_a_session_too_many_is_refused_with_what_to_do(opened: Opened) -> None:
    async with opened(max_sessions=1) as runtime:
        await runtime.sessions.open("one")
        with pytest.raises(TooManySessions, match=r"1 sessions are open.*'one'.*close_session"):
            await runtime.sessions.open("two")
        await runtime.sessions.close("one")
        await runtime.sessions.open("two")


async def test_executions_past_the_limit_of_running_ones_wait_their_turn(opened: Opened) -> None:
    async with opened(max_running_executions=1) as runtime:
        first, second = await runtime.sessions.open("first"), await runtime.sessions.open("second")
        running = first.submit("import time; time.sleep(60)")
        await eventually(lambda: first.executing)
        waiting = second.submit("1")
        cancelled = second.submit("2")
        await second.cancel(cancelled)
        assert second.snapshot(waiting).status == "queued"
        await first.cancel(running)
        await waiting.finished.wait()
        assert second.snapshot(waiting).text == "1"
        assert [(await one.execute("3")).text for one in (first, second)] == ["3", "3"]


@pytest.mark.slow
async def test_an_idle_session_gives_its_kernel_up_and_tells_what_was_lost(opened: Opened) -> None:
    async with opened(idle_timeout_seconds=0.5) as runtime:
        session = await runtime.sessions.open("idle")
        await session.execute("x = 1")
        await eventually(lambda: session.kernel is None)
        assert (await session.state()).state == "asleep"
        assert await runtime.sessions.open("idle") is session
        with pytest.raises(StateLost, match=r"after 0.5 s without code.*variables of 1 execution are gone"):
            await session.execute("x")
        assert (await session.execute("2")).text == "2"
        await eventually(lambda: session.kernel is None)
        await session.restart()
        assert session.kernel is not None


def test_an_environment_has_lower_limits_never_higher_ones(settings: Settings) -> None:
    own = EnvironmentSettings(memory_limit_bytes=1 << 30, processes_limit=512, idle_timeout_seconds=60)
    server = settings.model_copy(update={"environment_settings": {"own": own}, "memory_limit_bytes": 2 << 30})
    lowered = server.for_environment("own")
    assert (lowered.memory_limit_bytes, lowered.processes_limit) == (1 << 30, server.processes_limit)
    assert (lowered.idle_timeout_seconds, lowered.timeout_seconds) == (60, server.timeout_seconds)
    assert server.for_environment("other") is server


async def test_it_is_told_what_enforces_each_limit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "find_hierarchies", list)
    lines = limit_lines(Limiter(settings, "none").enforced())
    assert "open files 4096 (rlimit)" in lines
    counted = counts_files(settings.workspace)
    assert f"files half of what is free ({'watchdog' if counted else 'not enforced here'})" in lines
    assert any(line.startswith("memory ") and line.endswith("(watchdog)") for line in lines)
    assert "cpu cores all (CPU affinity)" in lines


async def test_no_group_is_left_behind(opened: Opened) -> None:
    async with opened() as runtime:
        await runtime.sessions.open("one")
        made = [*_groups(runtime)]
    await asyncio.sleep(0)
    assert [path for path in made if path.exists()] == []


async def test_the_group_of_a_killed_server_is_removed_by_the_next_one(opened: Opened) -> None:
    if not controllers():
        pytest.skip("no control groups can be made here")
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = find_hierarchies()[0].directory / f"kernel-exec-{gone.pid:x}abcd" / "k1"
    left.mkdir(parents=True)
    async with opened() as runtime:
        await runtime.sessions.open("one")
        assert not left.parent.exists()


def _groups(runtime: Runtime) -> list[Path]:
    return [path for one in find_hierarchies() for path in one.directory.glob(f"*{runtime.sessions.server}*")]
