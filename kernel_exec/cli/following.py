"""Shows what a session puts out on the terminal, while it does."""

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.text import Text as Line

from kernel_exec.cli.terminal import err
from kernel_exec.runtime import Runtime
from kernel_exec.sessions.execution import Execution
from kernel_exec.sessions.outputs import CHUNK_BYTES, Error, Output, Stream, Text
from kernel_exec.sessions.session import Session

__all__ = ["follow"]

POLL_SECONDS = 0.05
# Looking takes longer the more there is; at most a tenth of the time goes into it.
REST_PER_LOOK = 9


async def follow(runtime: Runtime, session: Session, work: asyncio.Task[Any]) -> None:
    """Write the outputs of *session* to the terminal until *work*, which executes there, is done.

    Streams go to standard output and standard error, byte by byte as the code wrote them; results
    follow as text, tracebacks go to standard error.
    """
    shown: dict[str, tuple[int, int]] = {}
    while True:
        done, begun = work.done(), time.monotonic()
        for execution in runtime.history.executions(session.record.id):
            shown[execution.id] = _show_rest(execution, *shown.get(execution.id, (0, 0)))
        if done:
            return
        looked_seconds = time.monotonic() - begun
        await asyncio.wait({work}, timeout=max(POLL_SECONDS, REST_PER_LOOK * looked_seconds))


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
