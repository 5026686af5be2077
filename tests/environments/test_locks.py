import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel_exec.environments.locks import Locks
from kernel_exec.errors import EnvironmentBusy

HOLD = """
import asyncio, sys
from pathlib import Path
from kernel_exec.environments.locks import Locks

async def main():
    async with Locks(Path(sys.argv[1]), 10).exclusive("lab", "installing pandas"):
        print("held", flush=True)
        sys.stdin.read()

asyncio.run(main())
"""


@contextmanager
def another_process_holding(directory: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


async def test_two_tasks_never_hold_one_environment_at_once(tmp_path: Path) -> None:
    locks, inside, most = Locks(tmp_path, 10), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with locks.exclusive("lab", "working"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert most == 1


async def test_different_environments_never_wait_for_each_other(tmp_path: Path) -> None:
    locks = Locks(tmp_path, 0)
    async with locks.exclusive("one", "working"), locks.exclusive("two", "working"):
        pass


async def test_names_that_differ_in_case_share_a_lock(tmp_path: Path) -> None:
    locks = Locks(tmp_path, 0)
    async with locks.exclusive("Lab", "working"):
        with pytest.raises(EnvironmentBusy):
            async with locks.exclusive("lab", "working"):
                pass


async def test_another_process_is_waited_for_and_named(tmp_path: Path) -> None:
    told: list[str] = []
    with another_process_holding(tmp_path) as process:
        with pytest.raises(EnvironmentBusy, match=rf"process {process.pid}.*installing pandas"):
            async with Locks(tmp_path, 0.1).exclusive("lab", "x", on_wait=told.append):
                pass
        assert told == [f"process {process.pid} (installing pandas)"]
        assert process.stdin is not None
        process.stdin.close()  # it leaves
        async with Locks(tmp_path, 60).exclusive("lab", "working"):
            pass


async def test_the_lock_of_a_killed_process_frees_itself(tmp_path: Path) -> None:
    with another_process_holding(tmp_path) as process:
        process.kill()
        process.wait()
        async with Locks(tmp_path, 60).exclusive("lab", "working"):
            pass


async def test_a_wait_can_be_cancelled_and_leaves_the_lock_free(tmp_path: Path) -> None:
    locks, told = Locks(tmp_path, 60), asyncio.Event()

    async def wait() -> None:
        async with locks.exclusive("lab", "working", on_wait=lambda _: told.set()):
            raise AssertionError("the lock is held")

    with another_process_holding(tmp_path):
        waiting = asyncio.create_task(wait())
        await told.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with locks.exclusive("lab", "working"):
        pass


async def test_a_call_of_this_process_is_waited_for_and_named(tmp_path: Path) -> None:
    locks = Locks(tmp_path, 0)
    async with locks.exclusive("lab", "creating 'lab'"):
        with pytest.raises(EnvironmentBusy, match=r"another call.*creating 'lab'"):
            async with locks.exclusive("lab", "x"):
                pass
    assert [file.name for file in tmp_path.iterdir()] == [".lab.lock"]
