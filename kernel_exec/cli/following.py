"""Shows what a session puts out on the terminal, while it does, and passes on what is typed."""

import asyncio
import getpass
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from rich.text import Text as Line

from kernel_exec.cli.terminal import err
from kernel_exec.kernels import InputRequest
from kernel_exec.sessions.execution import Execution
from kernel_exec.sessions.ongoing import OngoingExecution
from kernel_exec.sessions.outputs import CHUNK_BYTES, Error, Output, Stream, Text
from kernel_exec.sessions.session import Session

__all__ = ["follow"]

POLL_SECONDS = 0.05
# Looking takes longer the more there is; at most a tenth of the time goes into it.
REST_PER_LOOK = 9


async def follow(session: Session, ongoing: OngoingExecution) -> None:
    """Write what the execution puts out to the terminal until it is over.

    Streams go to standard output and standard error, byte by byte as the code wrote them; results as
    text; tracebacks, and notes on how it ended, to standard error. `input()` reads standard input.
    """
    position, offset = 0, 0
    while True:
        begun = time.monotonic()
        execution = session.snapshot(ongoing)
        position, offset = _show_rest(execution, position, offset)
        if execution.finished:
            if execution.note:
                err.print(Line(execution.note, style="red"), soft_wrap=True)
            return
        if ongoing.asked is not None:
            await _answer(session, ongoing, ongoing.asked)
        looked_seconds = time.monotonic() - begun
        await ongoing.wait(max(POLL_SECONDS, REST_PER_LOOK * looked_seconds))


def _show_rest(execution: Execution, position: int, offset: int) -> tuple[int, int]:
    """Show what comes after *offset* bytes of the output at *position*; returns where that ended."""
    outputs = execution.outputs
    if position > len(outputs):  # cleared by the code
        position = offset = 0
    for output in outputs[position:]:
        size = output.content.size_bytes if isinstance(output, Stream) else 0
        _show(output, offset if offset <= size else 0)
        offset = 0
    if outputs and isinstance(last := outputs[-1], Stream):  # it may grow
        return len(outputs) - 1, last.content.size_bytes
    return len(outputs), 0


def _show(output: Output, offset: int) -> None:
    match output:
        case Stream():
            stream = sys.stderr if output.name == "stderr" else sys.stdout
            stream.flush()
            for piece in _bytes_after(output.content, offset):
                stream.buffer.write(piece)
            stream.buffer.flush()
        case Error():
            err.print(Line.from_ansi("\n".join(output.traceback)), soft_wrap=True)
        case _:
            sys.stdout.buffer.write(f"{output.data.get('text/plain', '')}\n".encode("utf-8", "replace"))
            sys.stdout.buffer.flush()


def _bytes_after(text: Text, offset: int) -> Iterator[bytes]:
    if text.path is None:
        yield text.head.encode("utf-8", "replace")[offset:]
        return
    with text.path.open("rb") as file:
        file.seek(offset)
        while offset < text.size_bytes and (piece := file.read(min(CHUNK_BYTES, text.size_bytes - offset))):
            offset += len(piece)
            yield piece


async def _answer(session: Session, ongoing: OngoingExecution, asked: InputRequest) -> None:
    """Give the code a line of standard input; at its end, or when the code ends first, there is none."""
    over = asyncio.create_task(ongoing.finished.wait())
    line = _line(asked)
    try:
        await asyncio.wait((over, line), return_when=asyncio.FIRST_COMPLETED)
        if over.done():
            return
        if text := line.result():
            session.send_input(ongoing, text.rstrip("\n"))
        else:
            err.print("input() met the end of standard input.")
            await session.cancel(ongoing)
    finally:
        over.cancel()


def _line(asked: InputRequest) -> asyncio.Future[str]:
    """Read a line; empty at the end. In a thread that dies with us, as nothing else ends such a read."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if asked.password and sys.stdin.isatty():
            text = getpass.getpass(asked.prompt) + "\n"
        else:
            print(asked.prompt, end="", flush=True)
            text = sys.stdin.readline()
        with suppress(RuntimeError):  # we have left meanwhile
            loop.call_soon_threadsafe(future.set_result, text)

    threading.Thread(target=read, daemon=True).start()
    return future
