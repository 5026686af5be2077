"""Code that does not end, and interrupts. Code that cannot be interrupted is given short limits; code
that can gets long ones, so that a slow machine decides nothing."""

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio

from kernel_exec.errors import InvalidInput
from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.sessions.execution import Execution
from kernel_exec.sessions.session import Session
from kernel_exec.settings import Settings
from tests.conftest import OpenSession, eventually


@pytest_asyncio.fixture(scope="module")
async def impatient(settings: Settings) -> AsyncIterator[Runtime]:
    """A second runtime on the data directory, which climbs the ladder fast."""
    async with open_runtime(settings.model_copy(update={"interrupt_grace_seconds": 0.2})) as runtime:
        yield runtime


async def begun(session: Session, code: str, **how: object) -> object:
    ongoing = session.submit(code, **how)  # type: ignore[arg-type]
    await eventually(lambda: session.snapshot(ongoing).count)
    return ongoing


INTERRUPTIBLE = {
    "sleep": "import time; time.sleep(600)",
    "a tight loop": "while True: pass",
    "a subprocess that ignores SIGINT": "import subprocess\nsubprocess.run(['sh', '-c', 'trap \"\" INT; sleep 600'])",
    "asyncio": "import asyncio\nawait asyncio.sleep(600)",
    "asyncio.run in a thread pool": "import concurrent.futures, time\n"
    "pool = concurrent.futures.ThreadPoolExecutor(); pool.submit(time.sleep, 2).result()",
    "joining a thread": "import threading, time\n(t := threading.Thread(target=time.sleep, args=(2,))).start(); t.join()",
    "input": "input('? ')",
    "a loop that swallows one KeyboardInterrupt": "import time\ntry: time.sleep(600)\nexcept KeyboardInterrupt: time.sleep(600)",
}


@pytest.mark.parametrize("kind", INTERRUPTIBLE)
async def test_a_timeout_interrupts_and_keeps_variables(session: Session, kind: str) -> None:
    await session.execute("kept = 1")
    ongoing = session.submit(f"print('begun')\n{INTERRUPTIBLE[kind]}", timeout_seconds=0.4)
    await ongoing.finished.wait()
    execution = session.snapshot(ongoing)
    assert execution.status == "timeout"
    assert execution.text.startswith("begun\n")
    assert "interrupted after 0.4 s" in execution.note
    assert "Variables are kept" in execution.note
    assert ("and again" in execution.note) >= ("swallows" in kind)
    assert (await session.execute("kept")).text == "1"


HOPELESS = {
    "a loop that swallows KeyboardInterrupt": "import time\nwhile True:\n  try: time.sleep(60)\n"
    "  except KeyboardInterrupt: pass",
    "C code that holds the GIL": "import itertools\nall(itertools.repeat(True))",
    "a stopped kernel": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "a loop after an await": "import asyncio\nawait asyncio.sleep(0)\nwhile True: pass",
}


@pytest.mark.parametrize("kind", HOPELESS)
async def test_code_that_hears_no_interrupt_is_killed_and_the_loss_is_told(
    impatient: Runtime, kind: str
) -> None:
    session = await impatient.sessions.open("hopeless")
    await session.execute("x = 1")
    lost = len(list(impatient.history.executions(session.record.id)))
    execution = await session.execute(HOPELESS[kind], timeout_seconds=0.3)
    assert execution.status == "timeout"
    assert "did not react twice, and the kernel was killed" in execution.note
    assert "new kernel" in execution.note
    assert " executions are gone" in execution.note
    assert lost
    assert (await session.execute("'x' in globals()")).text == "False"


async def test_all_that_a_bomb_of_processes_started_is_killed_with_it(impatient: Runtime) -> None:
    session = await impatient.sessions.open("bomb")
    bomb = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for _ in range(4): os.fork()\n"
        "if os.getpid() % 2: os.setsid() if os.getpgrp() != os.getpid() else None\n"
        "while True: time.sleep(1)"
    )
    ongoing = session.submit(bomb, timeout_seconds=1.5)
    most = 0
    while not ongoing.finished.is_set():
        most = max(most, (await session.state()).processes or 0)
        await asyncio.sleep(0.01)
    assert most > 8
    assert session.snapshot(ongoing).status == "timeout"
    while (await session.state()).processes != 1:
        await asyncio.sleep(0.01)


async def test_a_thread_that_never_ends_delays_nothing(open_session: OpenSession, runtime: Runtime) -> None:
    session = await open_session()
    await session.execute("import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()")
    assert (await session.execute("1 + 1")).text == "2"
    assert session.kernel is not None
    pid = session.kernel.pid
    async with asyncio.timeout(10):
        await runtime.sessions.close(session.name)
    assert pid is not None
    assert not psutil.pid_exists(pid)


async def test_interrupt_ends_the_code_and_keeps_variables(session: Session) -> None:
    ongoing = await begun(session, "kept = 2\nwhile True: pass")
    assert await session.interrupt() is ongoing
    execution = session.snapshot(ongoing)  # type: ignore[arg-type]
    assert execution.status == "interrupted"
    assert execution.error is not None
    assert execution.error.name == "KeyboardInterrupt"
    assert (await session.execute("kept")).text == "2"


async def test_interrupting_an_idle_session_does_nothing(session: Session) -> None:
    assert await session.interrupt() is None
    assert (await session.execute("1")).text == "1"


async def test_an_interrupt_that_the_code_ignores_returns_within_its_bound(impatient: Runtime) -> None:
    session = await impatient.sessions.open("ignores")
    ongoing = await begun(
        session, "import time\nwhile True:\n  try: time.sleep(60)\n  except KeyboardInterrupt: pass"
    )
    assert await session.interrupt() is ongoing
    assert session.snapshot(ongoing).status == "running"  # type: ignore[arg-type]
    await session.restart()


@pytest.mark.parametrize(
    "code", ["while True: pass", "import time; time.sleep(60)", INTERRUPTIBLE["asyncio"]]
)
async def test_a_cancel_at_any_moment_after_submit_interrupts(session: Session, code: str) -> None:
    for step in range(20):
        ongoing = session.submit(code)
        for _ in range(step):
            await asyncio.sleep(0)
        await asyncio.sleep(step * 0.0003)
        await session.cancel(ongoing)
        async with asyncio.timeout(20):
            await ongoing.finished.wait()
        assert session.snapshot(ongoing).status == "interrupted"


async def test_a_cancel_at_the_end_of_the_code_loses_no_reply(session: Session) -> None:
    ended = set()
    for step in range(40):
        ongoing = session.submit("import time; time.sleep(0.004)")
        await asyncio.sleep(0.004 + step * 0.0001)
        await session.cancel(ongoing)
        async with asyncio.timeout(20):
            await ongoing.finished.wait()
        ended.add(session.snapshot(ongoing).status)
        assert (await session.execute("1")).text == "1"
    assert ended <= {"ok", "interrupted"}


async def test_one_cancel_is_one_interrupt(session: Session) -> None:
    ongoing = await begun(
        session,
        "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt:\n  time.sleep(0.5); print('cleaned up'); raise",
    )
    await session.cancel(ongoing)  # type: ignore[arg-type]
    await ongoing.finished.wait()  # type: ignore[attr-defined]
    assert session.snapshot(ongoing).text == "cleaned up\n"  # type: ignore[arg-type]


async def test_a_cancelled_caller_interrupts_its_code_and_leaves_no_task(session: Session) -> None:
    before = asyncio.all_tasks()
    caller = asyncio.create_task(session.execute("kept = 3\nwhile True: pass"))
    await eventually(lambda: session.executing)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert (await session.execute("kept")).text == "3"
    await eventually(lambda: asyncio.all_tasks() <= before)


async def test_a_queued_execution_that_is_cancelled_never_runs(session: Session) -> None:
    running = await begun(session, "ran = []\nimport time; time.sleep(60)")
    caller = asyncio.create_task(session.execute("ran.append(1)"))
    await eventually(lambda: session.queued)
    queued = session.submit("ran.append(2)")
    await session.cancel(queued)
    caller.cancel()
    await session.cancel(running)  # type: ignore[arg-type]
    assert (await session.execute("ran")).text == "[]"
    execution: Execution = session.snapshot(queued)
    assert (execution.status, execution.count) == ("interrupted", None)
    assert "before it began" in execution.note


async def test_a_timeout_past_the_setting_is_refused(session: Session) -> None:
    with pytest.raises(InvalidInput, match="max_timeout_seconds"):
        await session.execute("1", timeout_seconds=10**9)
