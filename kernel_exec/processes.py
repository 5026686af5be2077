"""The only door to subprocesses: `run` a command to its end, `stop_tree` what somebody left behind."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import psutil

from kernel_exec.cleanup import finish

__all__ = ["Completed", "run", "run_blocking", "stop_tree", "tree_of"]

KILL_GRACE_SECONDS = 5.0
POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended. *output* is standard output; *errors* is standard error; both decoded."""

    returncode: int
    output: str
    errors: str


async def run(
    command: Sequence[str | Path],
    *,
    timeout_seconds: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_error_line: Callable[[str], None] | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run *command* with no input and wait for its end; *pass_fds* are the file descriptors it inherits.

    *on_error_line* sees each line of standard error as it comes, for progress. However this ends (a
    timeout, a cancelled caller), the command's whole process tree is gone afterwards.

    Raises: TimeoutError, after *timeout_seconds*; OSError when the command cannot be started.
    """
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
            limit=1 << 20,
            start_new_session=sys.platform != "win32",
            pass_fds=pass_fds,
        )
    )
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # asyncio itself would kill the command alone, and wait for what that had started.
        await finish(_give_up(starting))
        raise
    assert process.stdout is not None
    assert process.stderr is not None
    errors: list[str] = []
    try:
        async with asyncio.timeout(timeout_seconds):
            reading = asyncio.create_task(process.stdout.read())
            try:
                while line := await process.stderr.readline():
                    text = line.decode(errors="replace")
                    errors.append(text)
                    if on_error_line is not None:
                        on_error_line(text.rstrip())
                output = await reading
            finally:
                reading.cancel()
            await process.wait()
    finally:
        if process.returncode is None:
            await finish(_kill_and_wait(process))
    assert process.returncode is not None
    return Completed(process.returncode, output.decode(errors="replace"), "".join(errors))


def run_blocking(command: Sequence[str | Path], *, timeout_seconds: float) -> Completed:
    """`run` for a thread, and for a command that starts nothing itself.

    Raises: TimeoutError; OSError when the command cannot be started.
    """
    try:
        done = subprocess.run(  # noqa: S603
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_seconds
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{command[0]} did not answer in {timeout_seconds:g} s") from error
    return Completed(done.returncode, done.stdout, done.stderr)


async def _give_up(starting: asyncio.Task[asyncio.subprocess.Process]) -> None:
    with suppress(OSError):
        await _kill_and_wait(await starting)


async def _kill_and_wait(process: asyncio.subprocess.Process) -> None:
    with anyio.move_on_after(KILL_GRACE_SECONDS * 2):
        await stop_tree(process.pid)
        await process.wait()


def tree_of(pid: int | None, *, marker: tuple[str, str] | None = None) -> list[psutil.Process]:
    """The process *pid*, its process group and all descendants of these, without this process.

    Children that left the tree (a double fork, `setsid`) are found by *marker*: an environment variable
    that every process of the tree inherits, and its value or what the value begins with before a `-`.
    """
    children: dict[int, list[psutil.Process]] = {}
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            children.setdefault(process.ppid(), []).append(process)
            if process.pid == pid or _group_of(process) == pid or _is_marked(process, marker):
                found[process.pid] = process
        except (psutil.Error, OSError):
            continue  # ended meanwhile, or another user's
    unseen = list(found)
    while unseen:
        for child in children.get(unseen.pop(), ()):
            if child.pid not in found:
                found[child.pid] = child
                unseen.append(child.pid)
    found.pop(os.getpid(), None)
    return list(found.values())


def _group_of(process: psutil.Process) -> int | None:
    return None if sys.platform == "win32" else os.getpgid(process.pid)


def _is_marked(process: psutil.Process, marker: tuple[str, str] | None) -> bool:
    if marker is None:
        return False
    name, wanted = marker
    value = process.environ().get(name, "")
    return value == wanted or value.startswith(f"{wanted}-")


async def stop_tree(
    pid: int | None,
    *,
    marker: tuple[str, str] | None = None,
    grace_seconds: float = KILL_GRACE_SECONDS,
) -> list[int]:
    """Kill what `tree_of` finds, until nothing of it is left.

    Returns the pids that were still alive *grace_seconds* later (normally none).
    """
    deadline = anyio.current_time() + grace_seconds
    while True:
        # In a thread: it walks all processes of the system.
        left = await asyncio.to_thread(tree_of, pid, marker=marker)
        left = [process for process in left if _alive(process)]
        if not left or anyio.current_time() > deadline:
            return [process.pid for process in left]
        _kill(left)
        # Not `psutil.wait_procs`: it would take a child's exit code away from whoever waits for it.
        await asyncio.sleep(POLL_SECONDS)


def _kill(processes: Iterable[psutil.Process]) -> None:
    # Stopped first, so that a process that forks as fast as it can cannot outrun the killing.
    for action in (psutil.Process.suspend, psutil.Process.kill):
        for process in processes:
            try:
                action(process)
            except psutil.Error:
                continue  # ended meanwhile


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
