"""`python -m tests.soak`: six sessions, some thousand executions of every unpleasant kind.

At the end every execution has a final status, nothing is left over, and memory is where it was.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from kernel_exec.errors import StateLost
from kernel_exec.kernels import KernelEnded
from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.sessions.execution import FINAL, Execution
from kernel_exec.sessions.outputs import DisplayData
from kernel_exec.sessions.session import Session
from kernel_exec.settings import load_settings

SESSIONS = 6
EXECUTIONS_A_MINUTE = 667
MEMORY_LIMIT_MEBIBYTES = 20
LATE = "late\n"
SLEEP, LOOP = "import time; time.sleep(60)", "while True: pass"


def text_of(execution: Execution) -> str:
    """The text without what a thread of an earlier execution put between."""
    return execution.text.replace(LATE, "")


async def execute(session: Session, code: str, **how: Any) -> Execution:
    """Raises: StateLost, also when the kernel's end came between the call and the code's beginning."""
    execution = await session.execute(code, **how)
    if execution.status == "interrupted" and execution.note.startswith("It never began"):
        raise StateLost(execution.note, "")
    return execution


async def fine(session: Session) -> None:
    number = random.randrange(10**6)
    execution = await execute(session, f"print({number}); {number} + 1")
    assert text_of(execution) == f"{number}\n{number + 1}", execution


async def raising(session: Session) -> None:
    code = random.choice(["1 / 0", "x = = 1", "if True:", "raise SystemExit", "undefined_name"])
    assert (await execute(session, code)).status == "error"


async def flooding(session: Session) -> None:
    number = random.randrange(2_000)
    execution = await execute(session, f"for n in range({number}): print(n, 'x' * 500)\ndisplay({{'n': 1}})")
    assert text_of(execution).count("\n") == number, execution.status


async def displaying(session: Session) -> None:
    number = random.randrange(200)
    outputs = (await execute(session, f"for n in range({number}): display(n)")).outputs
    assert sum(isinstance(output, DisplayData) for output in outputs) == number


async def timing_out(session: Session) -> None:
    execution = await execute(session, random.choice([SLEEP, LOOP]), timeout_seconds=0.1)
    assert execution.status == "timeout", execution


async def cancelled(session: Session) -> None:
    caller = asyncio.create_task(execute(session, random.choice([SLEEP, LOOP, "1"])))
    await asyncio.sleep(random.random() / 20)
    caller.cancel()
    await asyncio.wait({caller})


async def queued(session: Session) -> None:
    ongoing = [session.submit(code) for code in (SLEEP, "1", "2")]
    await session.cancel(ongoing[2])
    await session.cancel(ongoing[0])
    await asyncio.gather(*(one.finished.wait() for one in ongoing))
    assert [session.snapshot(one).status for one in ongoing] == ["interrupted", "ok", "interrupted"]


async def asking(session: Session) -> None:
    assert text_of(await execute(session, "input() + input()", inputs=["a", "b"])) == "'ab'"


async def threading(session: Session) -> None:
    await execute(
        session,
        f"import threading; threading.Timer(0.05, print, [{LATE!r}], {{'end': ''}}).start(); "
        "import subprocess; subprocess.Popen(['sleep', '60'])",
    )


async def looking(session: Session) -> None:
    await session.state()
    if session.kernel is not None:
        with contextlib.suppress(KernelEnded):
            assert await session.kernel.evaluate("6 * 7", timeout_seconds=30, aside=True) == "42"


async def dying(session: Session) -> None:
    code = random.choice(
        ["import os; os._exit(3)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    )
    assert (await execute(session, code)).status == "died"


async def killed_idle(session: Session) -> None:
    if session.kernel is not None and session.kernel.pid is not None:
        ended = session.kernel.ended
        with contextlib.suppress(ProcessLookupError):
            os.kill(session.kernel.pid, signal.SIGKILL)
        await asyncio.wait({ended})


async def hopeless(session: Session) -> None:
    code = "import itertools; all(itertools.repeat(1))"
    execution = await execute(session, code, timeout_seconds=0.1)
    assert execution.status == "timeout"
    assert "was killed" in execution.note


async def restarting(session: Session) -> None:
    ongoing = session.submit(LOOP)
    await session.restart()
    assert session.snapshot(ongoing).finished


KINDS = {
    fine: 40, raising: 12, flooding: 6, displaying: 6, timing_out: 5, cancelled: 8, queued: 4, asking: 5,
    threading: 4, looking: 4, dying: 1.5, killed_idle: 1, hopeless: 0.5, restarting: 1,
}  # fmt: skip


async def worker(session: Session, done: Counter[str], wanted: int) -> None:
    """Do what chance says until all sessions together have executed enough."""
    while done.total() < wanted:
        (kind,) = random.choices(list(KINDS), list(KINDS.values()))
        try:
            async with asyncio.timeout(120):
                await kind(session)
        except StateLost:
            done["state lost"] += 1
        done[kind.__name__] += 1


def mebibytes() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 2**20


async def soak(runtime: Runtime, wanted: int) -> list[str]:
    """Returns what did not hold."""
    sessions = await asyncio.gather(*(runtime.sessions.open(f"soak-{n}") for n in range(SESSIONS)))
    done: Counter[str] = Counter()
    start = time.perf_counter()
    await asyncio.gather(*(worker(session, done, wanted // 5) for session in sessions))
    warm = mebibytes()
    await asyncio.gather(*(worker(session, done, wanted) for session in sessions))
    grown = mebibytes() - warm
    records = [session.record.id for session in sessions]
    statuses = Counter(
        execution.status for record in records for execution in runtime.history.executions(record)
    )
    print(f"{statuses.total()} executions in {time.perf_counter() - start:.0f} s: {dict(statuses)}")
    print(f"kinds: {dict(done)}\nmemory: {warm:.1f} MiB after the warm-up, {grown:+.1f} MiB since")
    await asyncio.gather(*(runtime.sessions.close(session.name) for session in sessions))
    wrong = [f"{status} is not final" for status in statuses if status not in FINAL]
    if grown > MEMORY_LIMIT_MEBIBYTES:
        wrong.append(f"memory grew by {grown:.1f} MiB")
    return wrong


async def main(minutes: float) -> int:
    process = psutil.Process()
    with tempfile.TemporaryDirectory(prefix="kx", ignore_cleanup_errors=True) as directory:
        settings = load_settings(
            home=Path(directory, "home"), workspace=directory, interrupt_grace_seconds=3, timeout_seconds=60
        )
        async with open_runtime(settings) as runtime:  # what is made once per process is made now
            session = await runtime.sessions.open()
            await execute(session, "1")
        files, tasks = process.num_fds(), len(asyncio.all_tasks())
        async with asyncio.timeout(minutes * 60 * 4), open_runtime(settings) as runtime:
            wrong = await soak(runtime, int(minutes * EXECUTIONS_A_MINUTE))
        left = [child.cmdline() for child in process.children(recursive=True)]
        counts = {
            "process": len(left),
            "file": process.num_fds() - files,
            "task": len(asyncio.all_tasks()) - tasks,
        }
        wrong += [
            f"{number} {kind}(s) left over {left or ''}" for kind, number in counts.items() if number > 0
        ]
        wrong += [f"left in runtime/: {path.name}" for path in (settings.home / "runtime").iterdir()]
    print("\n".join(wrong) or "all held")
    return int(bool(wrong))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    random.seed(arguments.seed)
    sys.exit(asyncio.run(main(arguments.minutes)))
