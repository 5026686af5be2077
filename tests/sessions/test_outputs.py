import asyncio
import time
from pathlib import Path

import psutil
import pytest

from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.sessions.execution import Execution
from kernel_exec.sessions.outputs import DisplayData, ExecuteResult, Stream, Text
from kernel_exec.sessions.session import Session
from kernel_exec.settings import Settings


def shown(execution: Execution) -> list[str]:
    """The plain text of each output, in order."""
    return [
        output.text if isinstance(output, Stream) else output.data["text/plain"]
        for output in execution.outputs
        if isinstance(output, Stream | DisplayData | ExecuteResult)
    ]


async def test_streams_and_displays_come_in_order(session: Session) -> None:
    execution = await session.execute(
        "import sys\nprint('a'); print('b'); print('c', file=sys.stderr); display('d'); print('e')\n'f'"
    )
    assert shown(execution) == ["a\nb\n", "c\n", "'d'", "e\n", "'f'"]
    assert [output.name for output in execution.outputs if isinstance(output, Stream)] == [
        "stdout",
        "stderr",
        "stdout",
    ]


async def test_an_update_reaches_displays_of_earlier_executions(session: Session, runtime: Runtime) -> None:
    first = await session.execute("handle = display('old', display_id=True)")
    second = await session.execute("handle.update('new')")
    assert shown(runtime.sessions.execution(first.id)) == ["'new'"]
    assert shown(second) == []


async def test_clear_output_clears_now_or_with_the_next_output(session: Session) -> None:
    code = "from IPython.display import clear_output\n"
    assert shown(await session.execute(code + "print(1); clear_output(); print(2)")) == ["2\n"]
    assert shown(await session.execute(code + "print(1); clear_output(wait=True); print(2)")) == ["2\n"]
    assert shown(await session.execute(code + "print(1); clear_output(wait=True)")) == ["1\n"]
    assert shown(await session.execute(code + "print(1); clear_output()")) == []


async def test_output_of_subprocesses_is_caught_whatever_its_bytes(session: Session) -> None:
    execution = await session.execute(
        r"import subprocess; _ = subprocess.run(['printf', 'out \\377 end\n']); _ = subprocess.run('echo err >&2', shell=True)"
    )
    assert "out \N{REPLACEMENT CHARACTER} end\n" in execution.text
    assert "err\n" in execution.text


@pytest.mark.parametrize(
    "text", ["日本語🎉 e\u0301 \x1b[31mred\x1b[0m\r\x08\x00", "x" * 70_000, "é" * 1_500_000]
)
async def test_text_of_any_kind_and_size_is_kept_exactly(session: Session, text: str) -> None:
    execution = await session.execute(f"print({text[:50]!r} * {len(text) // len(text[:50])}, end='')")
    assert execution.text == text[:50] * (len(text) // len(text[:50]))
    (output,) = execution.outputs
    assert isinstance(output, Stream)
    assert "".join(output.content.chunks()) == execution.text
    assert output.content.size_bytes == len(execution.text.encode())


async def test_output_past_the_limit_is_counted_as_dropped(settings: Settings) -> None:
    async with open_runtime(settings.model_copy(update={"output_limit_bytes": 10_000})) as runtime:
        session = await runtime.sessions.open()
        execution = await session.execute("print('é' * 6_000)")
        assert len(execution.text.encode()) in (9_999, 10_000)
        assert execution.dropped_bytes + len(execution.text.encode()) == 12_001
        execution = await session.execute("print('x' * 9_000); display('y' * 2_000); display('z')")
        assert shown(execution) == ["x" * 9_000 + "\n", "'z'"]
        assert execution.dropped_bytes > 2_000
        execution = await session.execute("print('x' * 20_000); print('y'); 1 / 0")
        assert execution.text == "x" * 10_000
        assert execution.dropped_bytes == 10_003
        assert execution.error is not None


@pytest.mark.parametrize("number", [4_000, pytest.param(30_000, marks=pytest.mark.slow)])
async def test_no_display_of_a_flood_is_lost_while_the_reader_stalls(session: Session, number: int) -> None:
    ongoing = session.submit(f"for n in range({number}): display({{'text/plain': str(n)}}, raw=True)")
    async with asyncio.timeout(20):
        while not session.snapshot(ongoing).outputs:
            await asyncio.sleep(0.01)
    time.sleep(1.5)  # the event loop stands still, and the reader with it
    await ongoing.finished.wait()
    assert shown(session.snapshot(ongoing)) == [str(n) for n in range(number)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "code", ["print('0123456789' * 10_000_000)", "for _ in range(1_000_000): print('x' * 99)"]
)
async def test_100_megabytes_of_printing_stay_out_of_the_servers_memory(session: Session, code: str) -> None:
    await session.execute("print('y' * 5_000_000)")
    process = psutil.Process()
    before = peak = process.memory_info().rss
    ongoing = session.submit(code)
    while not ongoing.finished.is_set():
        peak = max(peak, process.memory_info().rss)
        await asyncio.sleep(0.005)
    (output,) = session.snapshot(ongoing).outputs
    assert isinstance(output, Stream)
    assert output.content.size_bytes in (100_000_001, 100_000_000)
    assert sum(map(len, output.content.chunks())) == output.content.size_bytes
    assert peak - before < 64 << 20


def test_chunks_never_split_a_character(tmp_path: Path) -> None:
    whole = "aé日🎉" * 300_000
    path = tmp_path / "text"
    path.write_bytes(whole.encode() + b"more that is not part of it")
    text = Text("", path, len(whole.encode()))
    pieces = list(text.chunks())
    assert len(pieces) > 2
    assert "".join(pieces) == str(text) == whole
