"""What is said about an execution besides its output: the status line, notes, the next call."""

from kernel_exec.server.content.terminal import show
from kernel_exec.sessions.execution import Execution

__all__ = ["plain_line", "status_text"]

# A peak is worth telling when it is so much above what is left.
PEAK_BYTES = 64 << 20


def status_text(execution: Execution, next_offset: int, note_chars: int) -> str:
    """Notes, the status line and, for an execution that is not over, the next call.

    *next_offset* is where that call reads on; notes and prompts have at most *note_chars* each.
    """
    lines = []
    if execution.dropped_bytes:
        lines.append(f"[{execution.dropped_bytes:,} bytes of output past output_limit_bytes were not kept]")
    if note := show(execution.note[:note_chars]).strip():
        lines.append(note)
    lines.append(_status_line(execution))
    if execution.status == "waiting_for_input":
        prompt = plain_line(execution.prompt, note_chars)
        lines.append(
            f'Waiting for input, prompt "{prompt}": answer with send_input("{execution.id}", text=…)'
        )
    elif not execution.finished:
        offset = f", offset={next_offset}" if next_offset else ""
        lines.append(f'Not finished; next: get_execution("{execution.id}", wait_seconds=50{offset})')
    return "\n".join(lines)


def plain_line(text: str, limit: int) -> str:
    """*text* in one line of at most *limit* characters, without escapes."""
    line = " ".join(show(text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _status_line(execution: Execution) -> str:
    count = " " if execution.count is None else execution.count
    parts = [f"[{count}] {execution.status.replace('_', ' ')} {_seconds(execution.elapsed_seconds)}"]
    if execution.status == "queued":
        parts.append(f"{execution.position:,} before it")
    parts += [f"session {execution.session}", f"environment {execution.environment}"]
    if execution.memory_bytes is not None:
        peak = execution.spent.peak_memory_bytes or 0
        much = f" (peak {_mebibytes(peak)})" if peak > execution.memory_bytes + PEAK_BYTES else ""
        parts.append(_mebibytes(execution.memory_bytes) + much)
    return " · ".join([*parts, f"execution {execution.id}"])


def _mebibytes(count: int) -> str:
    return f"{count / (1 << 20):,.0f} MiB"


def _seconds(elapsed: float) -> str:
    return (
        f"{elapsed:.2f} s"
        if elapsed < 9.995
        else f"{elapsed:.1f} s"
        if elapsed < 99.95
        else f"{elapsed:,.0f} s"
    )
