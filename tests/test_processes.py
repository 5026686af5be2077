import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from kernel_exec.processes import run, stop_tree, tree_of


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_run_gives_the_code_and_both_streams(tmp_path: Path) -> None:
    script = "import sys, os; print(os.getcwd(), os.environ['A']); print('é', file=sys.stderr); sys.exit(3)"
    lines: list[str] = []
    completed = await run(
        [sys.executable, "-X", "utf8", "-c", script],
        timeout_seconds=60,
        cwd=tmp_path,
        env={"A": "b"},
        on_error_line=lines.append,
    )
    assert (completed.returncode, completed.output, completed.errors) == (3, f"{tmp_path} b\n", "é\n")
    assert lines == ["é"]


async def test_run_takes_much_output_on_both_streams_and_gives_no_input() -> None:
    script = (
        "import sys; n = 3_000_000; print('o' * n); print('e' * 900_000, file=sys.stderr); sys.stdin.read()"
    )
    completed = await run([sys.executable, "-c", script], timeout_seconds=60)
    assert (len(completed.output), len(completed.errors)) == (3_000_001, 900_001)


@pytest.mark.parametrize("end", ["timeout", "cancel"])
async def test_a_command_that_is_given_up_leaves_no_process(tmp_path: Path, end: str) -> None:
    pid_file = tmp_path / "pid"
    script = "trap '' TERM INT; sleep 600 & echo $! > pid.new; mv pid.new pid; wait"
    running = asyncio.create_task(
        run(["sh", "-c", script], cwd=tmp_path, timeout_seconds=0.5 if end == "timeout" else 600)
    )
    while not pid_file.exists() and not running.done():
        await asyncio.sleep(0.01)
    if end == "cancel":
        running.cancel()
    with pytest.raises(TimeoutError if end == "timeout" else asyncio.CancelledError):
        await running
    assert not pid_file.exists() or not alive(int(pid_file.read_text()))


@pytest.mark.parametrize("delay", [0, 0.001, 0.002, 0.004, 0.008, 0.016])
async def test_a_command_that_is_given_up_as_it_starts_leaves_no_process(
    tmp_path: Path, delay: float
) -> None:
    running = asyncio.create_task(
        run(["sh", "-c", "sleep 600 & echo $! > pid; wait"], cwd=tmp_path, timeout_seconds=600)
    )
    await asyncio.sleep(delay)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(20):
            await running
    pid_file = tmp_path / "pid"
    assert not (pid_file.exists() and pid_file.read_text()) or not alive(int(pid_file.read_text()))


async def test_a_command_that_does_not_exist_is_an_os_error() -> None:
    with pytest.raises(OSError, match="no-such-command"):
        await run(["no-such-command"], timeout_seconds=5)


async def test_stop_tree_finds_children_that_left_the_tree_by_their_marker(tmp_path: Path) -> None:
    script = "setsid sh -c 'echo $$ > pid.new; mv pid.new pid; exec sleep 600' & exec sleep 600"
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "KX_TEST": "run-1-2"}
    )
    while not (tmp_path / "pid").exists():
        await asyncio.sleep(0.01)
    escaped = int((tmp_path / "pid").read_text())
    assert {found.pid for found in tree_of(None, marker=("KX_TEST", "run-1"))} == {process.pid, escaped}
    assert tree_of(None, marker=("KX_TEST", "run")) != []
    assert tree_of(None, marker=("KX_TEST", "run-1-")) == tree_of(None, marker=("KX_TEST", "ru")) == []
    assert await stop_tree(process.pid, marker=("KX_TEST", "run-1-2")) == []
    assert await process.wait() == -9
    assert not alive(escaped)


async def test_stopping_what_is_gone_does_nothing() -> None:
    assert await stop_tree(2**22 + 5) == []
